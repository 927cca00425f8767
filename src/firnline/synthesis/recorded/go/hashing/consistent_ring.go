// Consistent hashing with weights and replicas, and a measure of how much data must move.
//
// Problem: keys are spread over several storage servers. With "hash modulo number of servers"
// nearly every key moves when a server is added. On a ring, each server owns the arcs that end
// at its points; adding a server only takes keys over from its neighbours. Many points per
// server make the arcs even, and a server with twice the weight gets twice the points.
package main

import (
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"sort"
)

// ErrNoServers is returned when a key cannot be placed.
var ErrNoServers = errors.New("the ring has too few servers")

const pointsPerWeight = 150

type point struct {
	position uint64
	server   string
}

// Ring assigns keys to servers. It is not safe for concurrent changes.
type Ring struct {
	points  []point
	weights map[string]int
}

// position hashes a text and stirs the bits, because FNV alone spreads short similar texts
// badly over the upper bits.
func position(text string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(text))
	x := h.Sum64()
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}

// Set adds a server or changes its weight; weight zero removes it. Points depend only on the
// name and a serial number, so a changed weight moves no more keys than necessary.
func (r *Ring) Set(server string, weight int) error {
	if server == "" || weight < 0 {
		return fmt.Errorf("bad server %q with weight %d", server, weight)
	}
	kept := r.points[:0]
	for _, p := range r.points {
		if p.server != server {
			kept = append(kept, p)
		}
	}
	r.points = kept
	delete(r.weights, server)
	if weight == 0 {
		return nil
	}
	r.weights[server] = weight
	for i := 0; i < weight*pointsPerWeight; i++ {
		r.points = append(r.points, point{position(fmt.Sprintf("%s/%d", server, i)), server})
	}
	sort.Slice(r.points, func(i, j int) bool {
		return r.points[i].position < r.points[j].position
	})
	return nil
}

// Owners returns the servers for a key: the first one stores it, the others hold copies. All
// of them are different; points of servers already chosen are passed over.
func (r *Ring) Owners(key string, replicas int) ([]string, error) {
	if replicas < 1 || replicas > len(r.weights) {
		return nil, ErrNoServers
	}
	at := position(key)
	start := sort.Search(len(r.points), func(i int) bool { return r.points[i].position >= at })
	chosen, owners := map[string]bool{}, make([]string, 0, replicas)
	for i := 0; len(owners) < replicas; i++ {
		server := r.points[(start+i)%len(r.points)].server
		if !chosen[server] {
			chosen[server] = true
			owners = append(owners, server)
		}
	}
	return owners, nil
}

// placement asks the ring for the owner of each of n numbered keys.
func placement(r *Ring, n int) []string {
	owners := make([]string, n)
	for i := range owners {
		list, _ := r.Owners(fmt.Sprintf("user:%d", i), 1)
		owners[i] = list[0]
	}
	return owners
}

func check(ok bool, what string) {
	if !ok {
		panic("check failed: " + what)
	}
}

func main() {
	const keys = 20000
	ring := &Ring{weights: map[string]int{}}
	for server, weight := range map[string]int{"north": 1, "south": 1, "west": 2} {
		check(ring.Set(server, weight) == nil, "set")
	}
	before := placement(ring, keys)
	share := map[string]float64{}
	for _, owner := range before {
		share[owner] += 1.0 / keys
	}
	check(math.Abs(share["west"]-0.5) < 0.06, "the double weight gets half of the keys")

	check(ring.Set("east", 1) == nil, "a fourth server")
	moved := 0
	for i, owner := range placement(ring, keys) {
		if owner != before[i] {
			moved++
			check(owner == "east", "keys move to the new server only")
		}
	}
	fmt.Printf("west has %.3f, %.3f of the keys moved\n", share["west"], float64(moved)/keys)
	check(moved < keys/4, "few keys move")

	two, err := ring.Owners("user:7", 2)
	check(err == nil && two[0] != two[1], "replicas are on different servers")
	check(ring.Set(two[0], 0) == nil, "the first server fails")
	next, _ := ring.Owners("user:7", 1)
	check(next[0] == two[1], "the copy takes over")
	_, err = ring.Owners("user:7", 9)
	check(errors.Is(err, ErrNoServers) && ring.Set("", 1) != nil, "wrong requests are refused")
	fmt.Println("after the failure of", two[0], "the key is read from", next[0])
}
