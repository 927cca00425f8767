// Sparse linear systems: compressed rows and the conjugate-gradient method.
//
// Problem: the temperature of a heated plate satisfies one equation per grid point, and each
// equation mentions only the point and its four neighbours. For a 60 x 60 grid a full matrix
// has 13 million entries, of which 17 thousand are not zero. The matrix is stored row by row
// without zeros, and the system is solved by conjugate gradients, which needs nothing but
// products "matrix times vector". The matrix must be symmetric and positive definite.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <iostream>
#include <stdexcept>
#include <vector>

using Vector = std::vector<double>;

struct Triplet {
    std::size_t row, column;
    double value;
};

class SparseMatrix {
public:
    // Build from triplets in any order; several values for one place are added up.
    SparseMatrix(std::size_t size, std::vector<Triplet> triplets) : row_start_(size + 1, 0) {
        std::sort(triplets.begin(), triplets.end(), [](const Triplet& a, const Triplet& b) {
            return a.row != b.row ? a.row < b.row : a.column < b.column;
        });
        const Triplet* last = nullptr;
        for (const Triplet& t : triplets) {
            if (t.row >= size || t.column >= size) throw std::out_of_range("triplet");
            if (last && last->row == t.row && last->column == t.column) {
                values_.back() += t.value;
            } else {
                columns_.push_back(t.column);
                values_.push_back(t.value);
                ++row_start_[t.row + 1];
            }
            last = &t;
        }
        for (std::size_t r = 0; r < size; ++r) row_start_[r + 1] += row_start_[r];
    }

    std::size_t size() const { return row_start_.size() - 1; }
    std::size_t stored() const { return values_.size(); }

    Vector operator*(const Vector& x) const {
        if (x.size() != size()) throw std::invalid_argument("vector of wrong length");
        Vector y(size(), 0.0);
        for (std::size_t r = 0; r < size(); ++r) {
            for (std::size_t k = row_start_[r]; k < row_start_[r + 1]; ++k) {
                y[r] += values_[k] * x[columns_[k]];
            }
        }
        return y;
    }

private:
    std::vector<std::size_t> row_start_, columns_;
    Vector values_;
};

double dot(const Vector& a, const Vector& b) {
    double sum = 0;
    for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
    return sum;
}

// y <- y + factor * x
void add_scaled(Vector& y, double factor, const Vector& x) {
    for (std::size_t i = 0; i < y.size(); ++i) y[i] += factor * x[i];
}

struct Solution {
    Vector x;
    int steps;
};

// Solve A x = b until the residual has shrunk by the tolerance. Each search direction is
// conjugate to all earlier ones, so that progress made once is never undone.
Solution solve(const SparseMatrix& a, const Vector& b, double tolerance, int max_steps) {
    Solution s{Vector(a.size(), 0.0), 0};
    Vector residual = b, direction = b;
    double rr = dot(residual, residual);
    const double goal = tolerance * tolerance * rr;
    while (rr > goal) {
        if (s.steps++ == max_steps) throw std::runtime_error("no convergence");
        const Vector image = a * direction;
        const double curvature = dot(direction, image);
        if (curvature <= 0) throw std::domain_error("matrix is not positive definite");
        const double step = rr / curvature;
        add_scaled(s.x, step, direction);
        add_scaled(residual, -step, image);
        const double before = rr;
        rr = dot(residual, residual);
        for (std::size_t i = 0; i < direction.size(); ++i) {
            direction[i] = residual[i] + rr / before * direction[i];
        }
    }
    return s;
}

// The five-point heat equation on an n x n grid whose border is kept at zero degrees.
SparseMatrix plate(std::size_t n) {
    std::vector<Triplet> t;
    for (std::size_t p = 0; p < n * n; ++p) {
        t.push_back({p, p, 4.0});
        if (p % n + 1 < n) t.insert(t.end(), {{p, p + 1, -1.0}, {p + 1, p, -1.0}});
        if (p + n < n * n) t.insert(t.end(), {{p, p + n, -1.0}, {p + n, p, -1.0}});
    }
    return SparseMatrix(n * n, std::move(t));
}

int main() {
    const std::size_t n = 60;
    const SparseMatrix a = plate(n);
    Vector heat(n * n, 0.0);
    heat[n / 2 * n + n / 2] = 100.0;  // a flame below the centre
    const Solution s = solve(a, heat, 1e-10, 1000);

    Vector error = a * s.x;
    add_scaled(error, -1.0, heat);
    std::cout << a.stored() << " values stored, " << s.steps << " steps, residual "
              << std::sqrt(dot(error, error)) << "\n";
    if (std::sqrt(dot(error, error)) > 1e-6) return 1;
    if (*std::max_element(s.x.begin(), s.x.end()) != s.x[n / 2 * n + n / 2]) return 2;
    try {
        solve(SparseMatrix(2, {{0, 0, 1.0}, {1, 1, -1.0}}), {1.0, 2.0}, 1e-9, 50);
        return 3;
    } catch (const std::domain_error& problem) {
        std::cout << "refused: " << problem.what() << "\n";
    }
}
