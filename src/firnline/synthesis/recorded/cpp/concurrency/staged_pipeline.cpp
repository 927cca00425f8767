// A pipeline of threads connected by lock-free single-producer single-consumer rings.
//
// Problem: samples are read, filtered and summed up. Three threads could do this at the same
// time, but a mutex for every sample costs more than the work itself. Between exactly one
// writer and one reader a ring buffer needs no lock: the writer alone moves the head, the
// reader alone moves the tail, and release/acquire ordering publishes the element before the
// index that announces it. Both sides keep a private copy of the other's index and refresh it
// only when the ring looks full or empty.
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <iostream>
#include <optional>
#include <thread>
#include <utility>

template <typename T, std::size_t Capacity>
class SpscRing {
    static_assert((Capacity & (Capacity - 1)) == 0, "capacity must be a power of two");

public:
    // Producer only. False when the ring is full.
    bool try_push(T value) {
        const std::size_t head = head_.load(std::memory_order_relaxed);
        if (head - seen_tail_ == Capacity) {
            seen_tail_ = tail_.load(std::memory_order_acquire);
            if (head - seen_tail_ == Capacity) return false;
        }
        slots_[head & (Capacity - 1)] = std::move(value);
        head_.store(head + 1, std::memory_order_release);
        return true;
    }

    // Consumer only. Empty when the ring is empty.
    std::optional<T> try_pop() {
        const std::size_t tail = tail_.load(std::memory_order_relaxed);
        if (tail == seen_head_) {
            seen_head_ = head_.load(std::memory_order_acquire);
            if (tail == seen_head_) return std::nullopt;
        }
        std::optional<T> value(std::move(slots_[tail & (Capacity - 1)]));
        tail_.store(tail + 1, std::memory_order_release);
        return value;
    }

    // Producer only: nothing more will come.
    void close() { closed_.store(true, std::memory_order_release); }

    void push(T value) {
        while (!try_push(value)) std::this_thread::yield();
    }

    // Wait for an element; empty only after close() and when all elements were read. The
    // flag is read BEFORE the last look, since elements may arrive just before closing.
    std::optional<T> pop() {
        while (true) {
            const bool closed = closed_.load(std::memory_order_acquire);
            if (auto value = try_pop()) return value;
            if (closed) return std::nullopt;
            std::this_thread::yield();
        }
    }

private:
    // Separate cache lines, so that the two threads do not disturb each other.
    alignas(64) std::atomic<std::size_t> head_{0};
    std::size_t seen_tail_ = 0;  // used by the producer
    alignas(64) std::atomic<std::size_t> tail_{0};
    std::size_t seen_head_ = 0;  // used by the consumer
    alignas(64) std::atomic<bool> closed_{false};
    std::array<T, Capacity> slots_{};
};

struct Sample {
    std::uint32_t serial = 0;
    std::int32_t value = 0;
};

struct Summary {
    std::uint64_t count = 0;
    std::int64_t sum = 0;
    bool in_order = true;
};

// A repeatable source: a small linear congruential sequence with rare outliers.
void produce(SpscRing<Sample, 256>& out, std::uint32_t n) {
    std::uint32_t state = 7;
    for (std::uint32_t i = 0; i < n; ++i) {
        state = state * 1664525u + 1013904223u;
        const int noise = static_cast<int>(state >> 24) - 128;
        out.push({i, i % 1000 == 999 ? 1000000 : noise});
    }
    out.close();
}

// Drop outliers, so that one broken reading does not spoil the sum.
void filter(SpscRing<Sample, 256>& in, SpscRing<Sample, 64>& out, std::int32_t limit) {
    while (const auto sample = in.pop()) {
        if (sample->value <= limit && sample->value >= -limit) out.push(*sample);
    }
    out.close();
}

Summary summarise(SpscRing<Sample, 64>& in) {
    Summary s;
    std::uint32_t last = 0;
    while (const auto sample = in.pop()) {
        if (s.count > 0 && sample->serial <= last) s.in_order = false;
        last = sample->serial;
        ++s.count;
        s.sum += sample->value;
    }
    return s;
}

int main() {
    constexpr std::uint32_t total = 100000;
    SpscRing<Sample, 256> raw;
    SpscRing<Sample, 64> clean;
    std::thread reader(produce, std::ref(raw), total);
    std::thread cleaner(filter, std::ref(raw), std::ref(clean), 500);
    const Summary s = summarise(clean);
    reader.join();
    cleaner.join();
    std::cout << s.count << " samples kept, mean " << static_cast<double>(s.sum) / s.count << '\n';
    if (s.count != total - total / 1000 || !s.in_order) return 1;

    SpscRing<int, 4> tiny;
    for (int i = 0; i < 4; ++i) if (!tiny.try_push(i)) return 2;
    if (tiny.try_push(4)) return 3;
    tiny.close();
    for (int i = 0; i < 4; ++i) if (tiny.pop() != i) return 4;
    if (tiny.pop().has_value()) return 5;
    std::cout << "ring order and limits are right\n";
}
