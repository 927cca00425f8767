// Physical quantities whose dimensions are checked by the compiler.
//
// Problem: adding metres to seconds, or passing feet where metres are expected, are errors that
// a plain double cannot show. Here the exponents of length, mass and time are template
// parameters. Multiplication adds exponents, division subtracts them, and addition accepts
// equal dimensions only; a wrong formula does not compile. At run time nothing is left but the
// double, always in SI units; other units exist only as factors at the borders.
#include <cmath>
#include <cstdlib>
#include <iostream>
#include <map>
#include <sstream>
#include <stdexcept>
#include <string>
#include <type_traits>

template <int Length, int Mass, int Time>
class Quantity {
public:
    constexpr explicit Quantity(double si) : si_(si) {}
    constexpr double si() const { return si_; }

    // The number of given units in this quantity, e.g. distance.in(kilometre).
    constexpr double in(Quantity unit) const { return si_ / unit.si_; }

    constexpr Quantity operator+(Quantity o) const { return Quantity(si_ + o.si_); }
    constexpr Quantity operator-(Quantity o) const { return Quantity(si_ - o.si_); }
    constexpr Quantity operator-() const { return Quantity(-si_); }
    constexpr bool operator<(Quantity o) const { return si_ < o.si_; }

    template <int L, int M, int T>
    constexpr auto operator*(Quantity<L, M, T> o) const {
        return Quantity<Length + L, Mass + M, Time + T>(si_ * o.si());
    }
    template <int L, int M, int T>
    constexpr auto operator/(Quantity<L, M, T> o) const {
        return Quantity<Length - L, Mass - M, Time - T>(si_ / o.si());
    }
    friend constexpr Quantity operator*(double factor, Quantity q) {
        return Quantity(factor * q.si_);
    }

private:
    double si_;
};

// The root exists only if every exponent is even.
template <int L, int M, int T>
auto square_root(Quantity<L, M, T> q) {
    static_assert(L % 2 == 0 && M % 2 == 0 && T % 2 == 0, "the root has no dimension");
    if (q.si() < 0) throw std::domain_error("root of a negative quantity");
    return Quantity<L / 2, M / 2, T / 2>(std::sqrt(q.si()));
}

// Print the SI unit that belongs to the exponents, such as "9.81 m s^-2".
template <int L, int M, int T>
std::ostream& operator<<(std::ostream& out, Quantity<L, M, T> q) {
    out << q.si();
    const auto part = [&out](const char* symbol, int exponent) {
        if (exponent == 0) return;
        out << ' ' << symbol;
        if (exponent != 1) out << '^' << exponent;
    };
    part("m", L);
    part("kg", M);
    part("s", T);
    return out;
}

using Distance = Quantity<1, 0, 0>;
using Mass = Quantity<0, 1, 0>;
using Duration = Quantity<0, 0, 1>;
using Speed = Quantity<1, 0, -1>;
using Acceleration = Quantity<1, 0, -2>;
using Energy = Quantity<2, 1, -2>;

constexpr Distance metre(1), kilometre(1000), foot(0.3048);
constexpr Duration second(1), minute(60), hour(3600);
constexpr Mass kilogram(1);
constexpr Acceleration gravity(9.81);

// Read texts such as "12.5 km"; unknown units and trailing text are errors.
Distance parse_distance(const std::string& text) {
    static const std::map<std::string, Distance> units = {
        {"m", metre}, {"km", kilometre}, {"ft", foot}};
    std::istringstream in(text);
    double number = 0;
    std::string unit, rest;
    if (!(in >> number >> unit) || (in >> rest)) throw std::invalid_argument("bad: " + text);
    const auto found = units.find(unit);
    if (found == units.end()) throw std::invalid_argument("unknown unit " + unit);
    return number * found->second;
}

// The distance a car needs to stop: reaction time, then braking on a surface.
Distance stopping_distance(Speed speed, Duration reaction, double friction) {
    return speed * reaction + speed * speed / (2 * friction * gravity);
}

void expect(bool condition, const char* what) {
    if (condition) return;
    std::cerr << "failed: " << what << '\n';
    std::exit(1);
}

int main() {
    static_assert(std::is_same_v<decltype(kilogram * gravity * metre), Energy>);
    static_assert((90.0 * kilometre / hour).si() == 25.0);
    // Distance wrong = metre + second;   does not compile, as intended

    const Speed speed = 90.0 * kilometre / hour;
    const Distance stop = stopping_distance(speed, second, 0.7);
    std::cout << "from " << speed << " to rest in " << stop << '\n';
    expect(std::abs(stop.in(metre) - 70.5) < 0.1, "stopping distance");

    const Distance height = parse_distance("328.084 ft");
    const auto impact = square_root(2.0 * gravity * height);
    static_assert(std::is_same_v<decltype(impact), const Speed>);
    std::cout << "a fall from " << height << " ends at " << impact << '\n';
    expect(std::abs(impact.in(kilometre / hour) - 159.5) < 0.1, "speed of impact");
    expect(metre < foot + kilometre, "comparison");
    for (const char* wrong : {"12 parsec", "12", "km 3", "1 m m"}) {
        try {
            parse_distance(wrong);
            expect(false, wrong);
        } catch (const std::invalid_argument& problem) {
            std::cout << problem.what() << '\n';
        }
    }
}
