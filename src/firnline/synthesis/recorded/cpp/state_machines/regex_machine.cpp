// Regular expressions without backtracking: all alternatives are followed at once.
//
// Problem: on input such as "aaaa...b" a backtracking matcher needs exponential time for the
// pattern (a*)*c. Simulating a nondeterministic automaton takes time proportional to text
// length times pattern length, whatever the pattern. The pattern is compiled into a program of
// four instructions; a set of program positions is advanced letter by letter.
//
// Supported: letters, "." for any, "#" for a digit, "(...)", "|", and one of "*", "+", "?".
#include <bitset>
#include <climits>
#include <iostream>
#include <stdexcept>
#include <string>
#include <vector>

class Regex {
public:
    explicit Regex(std::string pattern) : pattern_(std::move(pattern)) {
        alternatives();
        if (at_ < pattern_.size()) fail("unbalanced )");
        emit({Op::match, {}, 0, 0});
    }

    // Length of the longest match that starts at the given position, or -1.
    int longest_at(const std::string& text, std::size_t start) const {
        std::vector<std::size_t> seen(program_.size(), SIZE_MAX);
        std::vector<int> current, next;
        int best = -1;
        follow(0, start, current, seen);
        for (std::size_t i = start;; ++i) {
            next.clear();
            for (int pc : current) {
                const Instruction& in = program_[pc];
                if (in.op == Op::match) best = static_cast<int>(i - start);
                if (in.op == Op::accept && i < text.size()
                    && in.letters[static_cast<unsigned char>(text[i])]) {
                    follow(pc + 1, i + 1, next, seen);
                }
            }
            if (next.empty()) return best;
            current.swap(next);
        }
    }

    bool matches(const std::string& text) const {
        return longest_at(text, 0) == static_cast<int>(text.size());
    }

private:
    using Letters = std::bitset<UCHAR_MAX + 1>;
    enum class Op { accept, split, jump, match };
    struct Instruction {
        Op op;
        Letters letters;
        int a, b;  // relative targets of split and jump, so that code can be moved
    };

    // Add a position to the set, going through splits and jumps; each position only once.
    void follow(int pc, std::size_t step, std::vector<int>& set,
                std::vector<std::size_t>& seen) const {
        if (seen[pc] == step) return;
        seen[pc] = step;
        const Instruction& in = program_[pc];
        if (in.op == Op::accept || in.op == Op::match) set.push_back(pc);
        else follow(pc + in.a, step, set, seen);
        if (in.op == Op::split) follow(pc + in.b, step, set, seen);
    }

    void emit(const Instruction& in) { program_.push_back(in); }
    void insert(int where, const Instruction& in) { program_.insert(program_.begin() + where, in); }
    int size() const { return static_cast<int>(program_.size()); }
    bool at(char c) const { return at_ < pattern_.size() && pattern_[at_] == c; }

    [[noreturn]] void fail(const std::string& reason) const {
        throw std::invalid_argument(reason + " at position " + std::to_string(at_));
    }

    void alternatives() {
        const int start = size();
        while (at_ < pattern_.size() && !at('|') && !at(')')) repeated();
        if (!at('|')) return;
        ++at_;
        insert(start, {Op::split, {}, 1, size() - start + 2});
        const int jump = size();
        emit({Op::jump, {}, 0, 0});
        alternatives();
        program_[jump].a = size() - jump;
    }

    void repeated() {
        const int start = size();
        single();
        const int length = size() - start;
        if (at('?')) insert(start, {Op::split, {}, 1, length + 1});
        if (at('*')) insert(start, {Op::split, {}, 1, length + 2});
        if (at('*')) emit({Op::jump, {}, -length - 1, 0});
        if (at('+')) emit({Op::split, {}, -length, 1});
        if (at('+') || at('?') || at('*')) ++at_;
    }

    void single() {
        const char letter = pattern_[at_++];
        Letters set;
        if (letter == '(') {
            alternatives();
            if (!at(')')) fail("missing )");
            ++at_;
            return;
        }
        if (letter == '*' || letter == '+' || letter == '?') fail("nothing to repeat");
        if (letter == '.') set.set();
        else if (letter == '#') for (char c = '0'; c <= '9'; ++c) set.set(c);
        else set.set(static_cast<unsigned char>(letter));
        emit({Op::accept, set, 0, 0});
    }

    std::string pattern_;
    std::size_t at_ = 0;
    std::vector<Instruction> program_;
};

int main() {
    const Regex price("-?#+(,##)?");
    int wrong = 0;
    wrong += !price.matches("-120,50") + !price.matches("7") + price.matches("7,5");
    wrong += !Regex("(red|green|blue)+x?").matches("redbluegreen") + !Regex("a.c").matches("abc");
    wrong += Regex("(a*)*c").matches(std::string(5000, 'a'));  // would never end naively
    wrong += Regex("ab*").longest_at("cabbb!", 1) != 4;
    for (const char* bad : {"(ab", "a)", "*a", "x|+"}) {
        try {
            wrong += Regex(bad).matches("") + 1;
        } catch (const std::invalid_argument& problem) {
            std::cout << bad << ": " << problem.what() << '\n';
        }
    }
    std::cout << wrong << " checks failed\n";
    return wrong;
}
