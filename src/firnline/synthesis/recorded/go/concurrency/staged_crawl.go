// A crawl over a graph of pages with bounded concurrency and prompt cancellation.
//
// Problem: pages link to each other in circles, fetching is slow, and the site allows only a
// few requests at a time. A naive "one goroutine per link" solution fetches pages twice, never
// knows when it is finished, and leaks goroutines after the first error. Here one coordinator
// owns the set of known pages, so that it needs no lock; workers only fetch. The number of
// pages that are queued or in work tells when everything is done.
package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Fetcher returns the links found on a page.
type Fetcher func(ctx context.Context, page string) ([]string, error)

// Report describes a finished crawl.
type Report struct {
	Depth  map[string]int   // distance of every fetched page from the start
	Failed map[string]error // pages that could not be fetched
}

// ErrTooManyFailures ends a crawl early.
var ErrTooManyFailures = errors.New("too many failures")

type task struct {
	page  string
	depth int
}
type result struct {
	task
	links []string
	err   error
}

// Crawl visits every page within maxDepth links of start with so many workers, unless the
// context ends or more than maxFailures pages fail.
func Crawl(ctx context.Context, fetch Fetcher, start string, workers, maxDepth, maxFailures int) (
	Report, error) {
	ctx, cancel := context.WithCancel(ctx)
	tasks, results := make(chan task), make(chan result)
	var group sync.WaitGroup
	for i := 0; i < workers; i++ {
		group.Add(1)
		go func() {
			defer group.Done()
			for t := range tasks {
				links, err := fetch(ctx, t.page)
				select {
				case results <- result{t, links, err}:
				case <-ctx.Done():
				}
			}
		}()
	}
	// Whatever the reason for the end, no goroutine outlives this function.
	defer group.Wait()
	defer close(tasks)
	defer cancel()
	report := Report{Depth: map[string]int{}, Failed: map[string]error{}}
	known := map[string]bool{start: true}
	queue := []task{{start, 0}}
	inWork := 0
	for len(queue) > 0 || inWork > 0 {
		send, next := chan task(nil), task{} // a nil channel is never ready
		if len(queue) > 0 {
			send, next = tasks, queue[0]
		}
		select {
		case <-ctx.Done():
			return report, ctx.Err()
		case send <- next:
			queue = queue[1:]
			inWork++
		case r := <-results:
			inWork--
			if r.err != nil {
				report.Failed[r.page] = r.err
				if len(report.Failed) > maxFailures {
					return report, fmt.Errorf("%w: %d pages", ErrTooManyFailures, len(report.Failed))
				}
				continue
			}
			report.Depth[r.page] = r.depth
			for _, link := range r.links {
				if !known[link] && r.depth < maxDepth {
					known[link] = true
					queue = append(queue, task{link, r.depth + 1})
				}
			}
		}
	}
	return report, nil
}

func main() {
	site := map[string][]string{
		"home": {"shop", "about", "blog"}, "shop": {"home", "cart", "sale"}, "about": {"home"},
		"blog": {"post1", "post2", "broken"}, "post1": {"blog", "post2"}, "sale": {"cart"},
		"post2": {"post1", "archive"}, "cart": {"shop"}, "archive": {"vault"}, "vault": {},
	}
	var active, fetched int32
	fetch := func(ctx context.Context, page string) ([]string, error) {
		check(atomic.AddInt32(&active, 1) <= 3, "at most three at a time")
		defer atomic.AddInt32(&active, -1)
		atomic.AddInt32(&fetched, 1)
		select {
		case <-time.After(2 * time.Millisecond):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if links, ok := site[page]; ok {
			return links, nil
		}
		return nil, fmt.Errorf("no page %q", page)
	}
	report, err := Crawl(context.Background(), fetch, "home", 3, 3, 5)
	fmt.Println(report.Depth, "failed:", report.Failed)
	check(err == nil && len(report.Depth) == 9 && len(report.Failed) == 1, "complete crawl")
	check(fetched == 10, "every page is fetched once")

	_, err = Crawl(context.Background(), fetch, "nowhere", 2, 3, 0)
	check(errors.Is(err, ErrTooManyFailures), "failure limit")
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	_, err = Crawl(ctx, fetch, "home", 2, 9, 0)
	check(errors.Is(err, context.DeadlineExceeded) && active == 0, "time limit, nothing leaks")
}

func check(ok bool, what string) {
	if !ok {
		panic(what)
	}
}
