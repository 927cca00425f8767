// A suffix array: find every occurrence of any phrase in a text by binary search, and the
// longest passage that occurs twice.
//
// Problem: a copy editor looks for repeated passages in a manuscript. Sorting the positions of
// the text by the suffix that begins there puts equal beginnings next to each other. The sort
// works by doubling: once suffixes are ranked by their first k letters, the pair
// (rank[i], rank[i + k]) ranks them by their first 2k letters. The longest common prefixes of
// neighbours are then computed in linear time, because the common prefix shrinks by at most
// one letter when both suffixes lose their first letter.
#include <algorithm>
#include <cassert>
#include <iostream>
#include <numeric>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

class SuffixIndex {
public:
    explicit SuffixIndex(std::string text) : text_(std::move(text)), order_(text_.size()) {
        const int n = static_cast<int>(text_.size());
        std::iota(order_.begin(), order_.end(), 0);
        std::vector<int> rank(text_.begin(), text_.end()), next(n);
        for (int k = 1; n > 0; k *= 2) {
            const auto key = [&](int i) {
                return std::make_pair(rank[i], i + k < n ? rank[i + k] : -1000);
            };
            std::sort(order_.begin(), order_.end(),
                      [&](int a, int b) { return key(a) < key(b); });
            next[order_[0]] = 0;
            for (int i = 1; i < n; ++i) {
                next[order_[i]] = next[order_[i - 1]] + (key(order_[i - 1]) < key(order_[i]));
            }
            rank.swap(next);
            if (rank[order_[n - 1]] == n - 1) break;  // all ranks are different
        }
        compute_common(rank);
    }

    // All positions at which the phrase begins, in ascending order.
    std::vector<int> find(std::string_view phrase) const {
        const auto prefix = [&](int at) { return suffix(at).substr(0, phrase.size()); };
        const auto first = std::lower_bound(
            order_.begin(), order_.end(), phrase,
            [&](int at, std::string_view wanted) { return prefix(at) < wanted; });
        const auto last = std::upper_bound(
            first, order_.end(), phrase,
            [&](std::string_view wanted, int at) { return wanted < prefix(at); });
        std::vector<int> found(first, last);
        std::sort(found.begin(), found.end());
        return found;
    }

    // The longest text that occurs at least twice (occurrences may overlap).
    std::string_view longest_repeat() const {
        const auto best = std::max_element(common_.begin(), common_.end());
        if (best == common_.end()) return {};
        return suffix(order_[best - common_.begin()]).substr(0, *best);
    }

    // Number of different non-empty substrings: each suffix adds those of its prefixes that
    // it does not share with its neighbour in the sorted order.
    long long distinct_substrings() const {
        const long long n = static_cast<long long>(text_.size());
        return n * (n + 1) / 2 - std::accumulate(common_.begin(), common_.end(), 0LL);
    }

private:
    std::string_view suffix(int at) const { return std::string_view(text_).substr(at); }

    void compute_common(const std::vector<int>& rank) {
        const int n = static_cast<int>(text_.size());
        common_.assign(n, 0);
        for (int i = 0, length = 0; i < n; ++i) {
            if (rank[i] == 0) {
                length = 0;
                continue;
            }
            const int j = order_[rank[i] - 1];
            while (std::max(i, j) + length < n && text_[i + length] == text_[j + length]) ++length;
            common_[rank[i]] = length;
            length = std::max(0, length - 1);
        }
    }

    std::string text_;
    std::vector<int> order_;   // start positions, sorted by suffix
    std::vector<int> common_;  // common prefix of order_[i] with order_[i - 1]
};

// Compare with a plain search over the whole text.
std::vector<int> scan(const std::string& text, const std::string& phrase) {
    std::vector<int> found;
    for (auto at = text.find(phrase); at != std::string::npos; at = text.find(phrase, at + 1)) {
        found.push_back(static_cast<int>(at));
    }
    return found;
}

int main() {
    const std::string verse =
        "the owl looked at the moon and the moon looked at the owl until the morning came";
    const SuffixIndex index(verse);
    for (const std::string phrase : {"the moon", "looked at the", "o", "came", "zebra", "th"}) {
        assert(index.find(phrase) == scan(verse, phrase));
        std::cout << phrase << ": " << index.find(phrase).size() << " times\n";
    }
    std::cout << "longest repeat: \"" << index.longest_repeat() << "\"\n";
    assert(index.longest_repeat() == " looked at the ");

    assert(SuffixIndex("aaaa").distinct_substrings() == 4);
    assert(SuffixIndex("abab").distinct_substrings() == 7);
    assert(SuffixIndex("aaaa").longest_repeat() == "aaa");
    assert(SuffixIndex("").find("x").empty() && SuffixIndex("").longest_repeat().empty());
    assert(SuffixIndex("abc").longest_repeat().empty());

    std::string big;
    for (unsigned i = 0, seed = 1; i < 5000; ++i) {
        seed = seed * 1103515245u + 12345u;
        big += static_cast<char>('a' + (seed >> 16) % 3);
    }
    const SuffixIndex large(big);
    for (int at = 0; at < 4900; at += 700) {
        assert(large.find(big.substr(at, 6)) == scan(big, big.substr(at, 6)));
    }
    std::cout << "5000 letters contain " << large.distinct_substrings() << " substrings\n";
}
