// A circuit breaker with a sliding failure window, and retries with capped backoff.
//
// Problem: when a remote service is down, thousands of callers that wait for their time-outs
// and then try again make things worse. A breaker watches the outcomes of recent calls. If too
// many failed it "opens": calls fail at once, without reaching the service. After a pause it
// lets single trial calls through ("half-open"); enough successes close it again, and one
// failure opens it for a longer pause.
//
// Time comes from an injected clock, so behaviour over minutes is tested in no time.
package main

import (
	"errors"
	"fmt"
	"sync"
	"time"
)

// State of a breaker.
type State string

const Closed, Open, HalfOpen State = "closed", "open", "half-open"

// ErrOpen is returned for calls that were not attempted.
var ErrOpen = errors.New("circuit breaker is open")

// Breaker may be used by several goroutines.
type Breaker struct {
	Window    int           // number of recent outcomes that are judged
	MaxFailed int           // failures within the window that open the breaker
	Trials    int           // successes in a row that close it again
	Pause     time.Duration // waiting time; doubles with each failed trial
	MaxPause  time.Duration
	Now       func() time.Time

	mutex        sync.Mutex
	state        State
	recent       []bool // outcomes, true = failed
	failed       int    // failures among them
	good, waited int    // successful and failed trials in a row
	retryAt      time.Time
	onTrial      bool // a trial call is under way
}

// Do runs the call unless the breaker forbids it. A panic counts as a failure.
func (b *Breaker) Do(call func() error) (err error) {
	if !b.admit() {
		return ErrOpen
	}
	finished := false
	defer func() { b.record(!finished || err != nil) }()
	err = call()
	finished = true
	return err
}

func (b *Breaker) admit() bool {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	if b.state == Open && !b.Now().Before(b.retryAt) {
		b.state, b.good = HalfOpen, 0
	}
	admitted := b.state == Closed || b.state == HalfOpen && !b.onTrial
	b.onTrial = b.state == HalfOpen
	return admitted
}

func (b *Breaker) record(failed bool) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	switch b.state {
	case HalfOpen:
		b.onTrial = false
		if failed {
			b.waited++
			b.open()
		} else if b.good++; b.good >= b.Trials {
			b.state, b.waited, b.failed, b.recent = Closed, 0, 0, nil
		}
	case Closed:
		if b.recent = append(b.recent, failed); failed {
			b.failed++
		}
		if len(b.recent) > b.Window {
			if b.recent[0] {
				b.failed--
			}
			b.recent = b.recent[1:]
		}
		if b.failed >= b.MaxFailed {
			b.open()
		}
	}
}

func (b *Breaker) open() {
	pause := b.Pause << b.waited
	if pause > b.MaxPause {
		pause = b.MaxPause
	}
	b.state, b.retryAt = Open, b.Now().Add(pause)
}

func check(ok bool, what string) {
	if !ok {
		panic("check failed: " + what)
	}
	fmt.Println("ok:", what)
}

func main() {
	now := time.Date(2024, 1, 1, 12, 0, 0, 0, time.UTC)
	breaker := &Breaker{Window: 10, MaxFailed: 4, Trials: 2, Pause: 5 * time.Second,
		MaxPause: 15 * time.Second, Now: func() time.Time { return now }, state: Closed}
	down, reached := errors.New("connection refused"), 0
	call := func(result error) error {
		return breaker.Do(func() error { reached++; return result })
	}

	for i := 0; i < 30; i++ { // of ten calls in a row, two fail
		_ = call(map[bool]error{true: down}[i%5 == 0])
	}
	check(breaker.state == Closed && reached == 30, "a few failures are tolerated")
	for i := 0; i < 20; i++ {
		_ = call(down)
	}
	check(breaker.state == Open && reached < 35, "many failures open the breaker")
	for _, pause := range []time.Duration{5, 10, 15, 15} { // the service stays down
		now = now.Add(pause*time.Second - 1)
		check(errors.Is(call(down), ErrOpen), "still waiting")
		now = now.Add(1)
		check(!errors.Is(call(down), ErrOpen), "pauses double up to the limit")
	}
	now = now.Add(15 * time.Second)
	check(call(nil) == nil && breaker.state == HalfOpen, "one success is not enough")
	inner := error(nil)
	_ = breaker.Do(func() error { inner = call(nil); return nil })
	check(errors.Is(inner, ErrOpen), "only one trial at a time")
	check(breaker.state == Closed, "two successes close it")
}
