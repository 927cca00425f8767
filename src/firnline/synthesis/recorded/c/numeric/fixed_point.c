/*
 * Fixed-point arithmetic with saturation, for a controller without floating-point hardware.
 *
 * Problem: a heater is regulated by a PID controller on a small processor. Numbers are stored
 * as 32-bit integers that count 1/65536 (format Q16.16). Overflow must never wrap around, for
 * a wrapped number would turn "far too cold" into "far too hot"; all operations saturate at
 * the ends of the range instead, and a sticky flag records that it happened.
 */
#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

typedef int32_t fix_t;

enum { FRACTION_BITS = 16 };
#define FIX_ONE ((fix_t)1 << FRACTION_BITS)
#define FIX(x) ((fix_t)((x) * FIX_ONE + ((x) < 0 ? -0.5 : 0.5))) /* for constants only */

static bool fix_saturated = false;

static fix_t clamp64(int64_t wide)
{
    if (wide > INT32_MAX || wide < INT32_MIN) {
        fix_saturated = true;
        return wide > 0 ? INT32_MAX : INT32_MIN;
    }
    return (fix_t)wide;
}

fix_t fix_add(fix_t a, fix_t b)
{
    return clamp64((int64_t)a + b);
}

fix_t fix_sub(fix_t a, fix_t b)
{
    return clamp64((int64_t)a - b);
}

/* Product rounded to nearest; the double-width product cannot overflow. */
fix_t fix_mul(fix_t a, fix_t b)
{
    int64_t wide = (int64_t)a * b;
    int64_t half = (int64_t)1 << (FRACTION_BITS - 1);
    return clamp64(wide >= 0 ? (wide + half) / FIX_ONE : (wide - half) / FIX_ONE);
}

/* Quotient; division by zero saturates with the sign of the dividend. */
fix_t fix_div(fix_t a, fix_t b)
{
    if (b == 0) {
        fix_saturated = true;
        return a < 0 ? INT32_MIN : INT32_MAX;
    }
    return clamp64((int64_t)a * FIX_ONE / b);
}

/* Square root, found bit by bit from the top as the largest r with r * r <= a. */
fix_t fix_sqrt(fix_t a)
{
    if (a <= 0) return 0;
    uint64_t target = (uint64_t)a << FRACTION_BITS;
    uint64_t root = 0;
    for (uint64_t bit = (uint64_t)1 << 24; bit > 0; bit >>= 1) {
        uint64_t trial = root | bit;
        if (trial * trial <= target) root = trial;
    }
    return (fix_t)root;
}

/* Write with four decimals; the caller provides at least 16 bytes. */
const char *fix_format(fix_t a, char *text)
{
    uint64_t magnitude = a < 0 ? (uint64_t)(-(int64_t)a) : (uint64_t)a;
    uint64_t scaled = (magnitude * 10000 + FIX_ONE / 2) >> FRACTION_BITS;
    sprintf(text, "%s%u.%04u", a < 0 ? "-" : "", (unsigned)(scaled / 10000),
            (unsigned)(scaled % 10000));
    return text;
}

typedef struct {
    fix_t gain_p, gain_i, gain_d;
    fix_t low, high;      /* what the actuator can do */
    fix_t integral, last_error;
} controller_t;

/* One step of the controller. The integral pauses while the output is at a limit, since
 * otherwise it would "wind up" and cause a long overshoot afterwards. */
fix_t pid_step(controller_t *c, fix_t target, fix_t measured, fix_t dt)
{
    fix_t error = fix_sub(target, measured);
    fix_t slope = fix_div(fix_sub(error, c->last_error), dt);
    fix_t grown = fix_add(c->integral, fix_mul(error, dt));
    fix_t out = fix_add(fix_mul(c->gain_p, error), fix_mul(c->gain_i, grown));
    out = fix_add(out, fix_mul(c->gain_d, slope));
    c->last_error = error;
    if (out > c->high) return c->high;
    if (out < c->low) return c->low;
    c->integral = grown;
    return out;
}

int main(void)
{
    char a[16], b[16];
    assert(fix_mul(FIX(-2.5), FIX(4.25)) == FIX(-10.625));
    assert(fix_div(FIX(7), FIX(-2)) == FIX(-3.5));
    assert(fix_sqrt(FIX(6.25)) == FIX(2.5));
    assert(fix_sqrt(FIX(2)) == 92681); /* 1.41420 */
    assert(!fix_saturated);
    assert(fix_mul(FIX(300), FIX(-300)) == INT32_MIN && fix_saturated);
    assert(fix_add(INT32_MAX, FIX_ONE) == INT32_MAX);
    assert(fix_div(FIX(-1), 0) == INT32_MIN);
    printf("limits %s to %s\n", fix_format(INT32_MIN, a), fix_format(INT32_MAX, b));

    /* A tank that loses heat to a room of 20 degrees; power is 0..60 units. */
    controller_t controller = {FIX(3), FIX(0.12), FIX(1), FIX(0), FIX(60), 0, FIX(60)};
    fix_t temperature = FIX(20), dt = FIX(0.5), highest = 0;
    for (int step = 0; step < 600; step++) {
        fix_t power = pid_step(&controller, FIX(80), temperature, dt);
        fix_t loss = fix_mul(FIX(0.3), fix_sub(temperature, FIX(20)));
        fix_t rate = fix_mul(FIX(0.1), fix_sub(power, loss));
        temperature = fix_add(temperature, fix_mul(rate, dt));
        if (temperature > highest) highest = temperature;
        if (step % 150 == 0) printf("step %3d: %s degrees\n", step, fix_format(temperature, a));
    }
    printf("finally %s, highest %s\n", fix_format(temperature, a), fix_format(highest, b));
    assert(temperature > FIX(79.5) && temperature < FIX(80.5));
    assert(highest < FIX(88));
    return 0;
}
