// A generic least-frequently-used cache whose operations all take constant time.
//
// Problem: a cache that drops the least RECENTLY used entry is flushed by one scan over many
// keys that are never wanted again. Counting uses protects the popular entries. Searching for
// the smallest count would be slow; instead, entries with equal counts share a bucket, buckets
// are linked in ascending order of count, and a use moves an entry to the next bucket. Within
// a bucket the oldest entry is dropped first. Counts are halved from time to time, since
// otherwise an entry that was popular last year could never be displaced.
package main

import (
	"container/list"
	"fmt"
)

type bucket struct {
	count   int
	entries *list.List // of *entry, the oldest in front
}
type entry[K comparable, V any] struct {
	key   K
	value V
	home  *list.Element // the bucket, as an element of Cache.buckets
}

// Cache keeps at most capacity entries. It must not be used by several goroutines at once.
type Cache[K comparable, V any] struct {
	capacity, puts int
	buckets        *list.List          // of *bucket, ascending by count
	index          map[K]*list.Element // elements of bucket.entries
	OnEvict        func(K, V)          // called for displaced entries
}

// New returns an empty cache; the capacity must be positive.
func New[K comparable, V any](capacity int, onEvict func(K, V)) *Cache[K, V] {
	return &Cache[K, V]{capacity, 0, list.New(), map[K]*list.Element{}, onEvict}
}

// Get returns a value and counts the use.
func (c *Cache[K, V]) Get(key K) (value V, ok bool) {
	element, ok := c.index[key]
	if ok {
		value = element.Value.(*entry[K, V]).value
		c.promote(element)
	}
	return value, ok
}

// Put stores a value. A new key displaces the entry that was used least.
func (c *Cache[K, V]) Put(key K, value V) {
	if c.puts++; c.puts%(c.capacity*16) == 0 {
		c.age()
	}
	if element, ok := c.index[key]; ok {
		element.Value.(*entry[K, V]).value = value
		c.promote(element)
		return
	}
	if len(c.index) >= c.capacity {
		c.evict()
	}
	front := c.buckets.Front()
	if front == nil || front.Value.(*bucket).count != 1 {
		front = c.buckets.PushFront(&bucket{1, list.New()})
	}
	c.place(&entry[K, V]{key: key, value: value}, front)
}

// promote moves an entry to the bucket for one use more, which is created if necessary.
func (c *Cache[K, V]) promote(element *list.Element) {
	e := element.Value.(*entry[K, V])
	from := e.home
	count := from.Value.(*bucket).count + 1
	to := from.Next()
	if to == nil || to.Value.(*bucket).count != count {
		to = c.buckets.InsertAfter(&bucket{count, list.New()}, from)
	}
	c.detach(element)
	c.place(e, to)
}

func (c *Cache[K, V]) place(e *entry[K, V], home *list.Element) {
	e.home = home
	c.index[e.key] = home.Value.(*bucket).entries.PushBack(e)
}

// detach takes an entry out of its bucket and removes the bucket if it became empty.
func (c *Cache[K, V]) detach(element *list.Element) {
	home := element.Value.(*entry[K, V]).home
	entries := home.Value.(*bucket).entries
	if entries.Remove(element); entries.Len() == 0 {
		c.buckets.Remove(home)
	}
}

func (c *Cache[K, V]) evict() {
	oldest := c.buckets.Front().Value.(*bucket).entries.Front()
	c.detach(oldest)
	e := oldest.Value.(*entry[K, V])
	delete(c.index, e.key)
	c.OnEvict(e.key, e.value)
}

// age halves all counts, rounding up; buckets that become equal are joined.
func (c *Cache[K, V]) age() {
	old := c.buckets
	c.buckets = list.New()
	for at := old.Front(); at != nil; at = at.Next() {
		count := (at.Value.(*bucket).count + 1) / 2
		last := c.buckets.Back()
		if last == nil || last.Value.(*bucket).count != count {
			last = c.buckets.PushBack(&bucket{count, list.New()})
		}
		for x := at.Value.(*bucket).entries.Front(); x != nil; x = x.Next() {
			c.place(x.Value.(*entry[K, V]), last)
		}
	}
}

func main() {
	var gone []string
	cache := New(3, func(key string, _ int) { gone = append(gone, key) })
	cache.Put("hot", 1)
	cache.Get("hot")
	for i := 0; i < 40; i++ { // a scan displaces only its own keys
		cache.Put(fmt.Sprintf("scan%d", i), i)
	}
	check(cache.index["hot"] != nil && len(gone) == 38, "survived the scan")
	for i := 0; i < 2000; i++ { // other habits: counts age until "hot" can be displaced
		cache.Put(fmt.Sprintf("new%d", i%3), i)
	}
	check(cache.index["hot"] == nil, "the old favourite was displaced in the end")
}

func check(ok bool, what string) {
	if fmt.Println(what, ok); !ok {
		panic(what)
	}
}
