/*
 * A sliding-window compressor in the LZ77 family, with a decoder that trusts nothing.
 *
 * Problem: log text repeats itself; replace a repetition by "go back d bytes, copy n". Finding
 * the repetition must not compare with every earlier position, so positions that begin with the
 * same three bytes are chained through a hash table and only a limited part is tried.
 *
 * Token format: one control byte c.
 *     c < 128   c + 1 literal bytes follow
 *     c >= 128  copy (c - 128) + MIN_MATCH bytes; two bytes with the distance follow
 */
#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MIN_MATCH = 4, MAX_MATCH = MIN_MATCH + 127, WINDOW = 65535, TRIES = 32, BUCKETS = 4096 };

static unsigned hash3(const uint8_t *p)
{
    return ((p[0] << 16 | p[1] << 8 | p[2]) * 2654435761u) >> 20 & (BUCKETS - 1);
}

/* The largest size that compressing n bytes can need. */
size_t pack_bound(size_t n) { return n + n / 128 + 1; }

static size_t put_literals(uint8_t *out, const uint8_t *from, size_t n)
{
    size_t size = 0;
    for (size_t run; n > 0; n -= run, from += run, size += run) {
        run = n < 128 ? n : 128;
        out[size++] = (uint8_t)(run - 1);
        memcpy(out + size, from, run);
    }
    return size;
}

/* Longest earlier match for position i; returns its length and sets the distance. */
static size_t longest_match(const uint8_t *in, size_t n, size_t i, long candidate,
                            const long *previous, size_t *distance)
{
    size_t best = 0;
    size_t limit = n - i < MAX_MATCH ? n - i : MAX_MATCH;
    for (int tries = TRIES; candidate >= 0 && tries > 0; tries--) {
        size_t at = (size_t)candidate, length = 0;
        if (i - at > WINDOW) break;
        while (length < limit && in[at + length] == in[i + length]) length++;
        if (length > best) {
            best = length;
            *distance = i - at;
        }
        candidate = previous[at];
    }
    return best;
}

/* Compress; out must have pack_bound(n) bytes. Returns the size, 0 if memory is short. */
size_t pack(const uint8_t *in, size_t n, uint8_t *out)
{
    long newest[BUCKETS];
    long *previous = malloc((n + 1) * sizeof *previous);
    size_t size = 0, literals = 0, i = 0;
    if (previous == NULL) return 0;
    for (int b = 0; b < BUCKETS; b++) newest[b] = -1;
    while (i < n) {
        size_t distance = 0;
        long candidate = n - i >= 3 ? newest[hash3(in + i)] : -1;
        size_t length = longest_match(in, n, i, candidate, previous, &distance);
        size_t step = length >= MIN_MATCH ? length : 1;
        if (step > 1) {
            size += put_literals(out + size, in + literals, i - literals);
            out[size++] = (uint8_t)(128 + length - MIN_MATCH);
            out[size++] = (uint8_t)(distance & 255);
            out[size++] = (uint8_t)(distance >> 8);
            literals = i + length;
        }
        for (size_t end = i + step; i < end; i++) { /* every position may start a later match */
            if (n - i < 3) continue;
            unsigned h = hash3(in + i);
            previous[i] = newest[h];
            newest[h] = (long)i;
        }
    }
    size += put_literals(out + size, in + literals, n - literals);
    free(previous);
    return size;
}

/* Decompress into out; returns the size, or -1 for damaged input or too small a buffer. */
long unpack(const uint8_t *in, size_t n, uint8_t *out, size_t capacity)
{
    size_t size = 0, i = 0;
    while (i < n) {
        unsigned control = in[i++];
        if (control < 128) {
            size_t run = control + 1;
            if (run > n - i || run > capacity - size) return -1;
            memcpy(out + size, in + i, run);
            i += run;
            size += run;
            continue;
        }
        if (n - i < 2) return -1;
        size_t length = control - 128 + MIN_MATCH;
        size_t distance = in[i] | (size_t)in[i + 1] << 8;
        i += 2;
        if (distance == 0 || distance > size || length > capacity - size) return -1;
        /* byte by byte, because source and target may overlap */
        for (; length > 0; length--, size++) out[size] = out[size - distance];
    }
    return (long)size;
}

int main(void)
{
    static uint8_t text[20000], packed[20200], back[20000];
    size_t n = 0;
    for (int i = 0; n < sizeof text - 60; i++) {
        n += (size_t)sprintf((char *)text + n, "%05d pump %d: pressure %d bar\n", i, i % 7, i % 13);
    }
    size_t size = pack(text, n, packed);
    printf("log text: %zu -> %zu bytes\n", n, size);
    assert(size > 0 && size * 2 < n);
    assert(unpack(packed, size, back, sizeof back) == (long)n && memcmp(text, back, n) == 0);
    assert(unpack(packed, size, back, n - 1) == -1);       /* buffer too small */
    assert(unpack(packed, size - 1, back, sizeof back) != (long)n); /* cut off */

    srand(1);
    for (size_t i = 0; i < sizeof text; i++) text[i] = (uint8_t)rand();
    size = pack(text, sizeof text, packed);
    assert(size <= pack_bound(sizeof text));
    assert(unpack(packed, size, back, sizeof back) == (long)sizeof text);
    assert(memcmp(text, back, sizeof text) == 0);
    for (size_t i = 0; i < 2000; i++) unpack(text + i, 500, back, sizeof back); /* no crash */
    printf("random bytes: %zu -> %zu bytes\n", sizeof text, size);
    return 0;
}
