/*
 * A chunked container format with checksums, read defensively.
 *
 * Problem: a measuring device stores records of several kinds in one file. New kinds appear
 * with new firmware, so an old reader must be able to skip what it does not know; and power may
 * fail during a write, so damage must be found rather than believed.
 *
 * Layout of a chunk, all integers little-endian whatever the machine:
 *     4 bytes  tag (an upper-case first letter marks a chunk that must be understood)
 *     4 bytes  payload length n
 *     n bytes  payload
 *     4 bytes  CRC-32 over tag, length and payload
 */
#include <assert.h>
#include <ctype.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

typedef struct { uint8_t *data; size_t size, capacity; } buffer_t;

typedef struct { const uint8_t *data; size_t size, position; } reader_t;

typedef struct {
    char tag[5];
    const uint8_t *payload; /* points into the file image, not a copy */
    uint32_t length;
} chunk_t;

typedef enum { CHUNK_OK, CHUNK_END, CHUNK_TRUNCATED, CHUNK_BAD_CRC, CHUNK_UNKNOWN } status_t;

static const char *const STATUS_TEXT[] = {
    "ok", "end of file", "truncated", "checksum mismatch", "unknown required chunk"
};

/* CRC-32 (reflected polynomial), one bit at a time: slow but without a table. */
static uint32_t crc32(const uint8_t *bytes, size_t n)
{
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < n; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ ((crc & 1) ? 0xEDB88320u : 0);
    }
    return ~crc;
}

static void store32(uint8_t *at, uint32_t v)
{
    for (int i = 0; i < 4; i++) at[i] = (uint8_t)(v >> (8 * i));
}

static uint32_t load32(const uint8_t *at)
{
    return at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

/* Append a chunk; returns 0 when the buffer has no room and leaves it unchanged. */
static int write_chunk(buffer_t *out, const char *tag, const void *payload, uint32_t n)
{
    if (out->capacity - out->size < 12 || out->capacity - out->size - 12 < n) return 0;
    uint8_t *start = out->data + out->size;
    memcpy(start, tag, 4);
    store32(start + 4, n);
    memcpy(start + 8, payload, n);
    store32(start + 8 + n, crc32(start, 8 + (size_t)n));
    out->size += 12 + (size_t)n;
    return 1;
}

/* Read the next chunk. Lengths are compared by subtraction, which cannot overflow. */
static status_t read_chunk(reader_t *in, chunk_t *chunk)
{
    size_t left = in->size - in->position;
    const uint8_t *start = in->data + in->position;
    if (left == 0) return CHUNK_END;
    if (left < 12) return CHUNK_TRUNCATED;
    uint32_t n = load32(start + 4);
    if (n > left - 12) return CHUNK_TRUNCATED;
    if (crc32(start, 8 + (size_t)n) != load32(start + 8 + n)) return CHUNK_BAD_CRC;
    memcpy(chunk->tag, start, 4);
    chunk->tag[4] = '\0';
    chunk->payload = start + 8;
    chunk->length = n;
    in->position += 12 + (size_t)n;
    return CHUNK_OK;
}

/* Sum all temperatures ("TEMP" chunks of 32-bit values in tenths of a degree). */
static status_t sum_temperatures(const uint8_t *file, size_t size, long *sum, int *skipped)
{
    reader_t in = {file, size, 0};
    chunk_t chunk;
    status_t status;
    *sum = *skipped = 0;
    while ((status = read_chunk(&in, &chunk)) == CHUNK_OK) {
        if (strcmp(chunk.tag, "TEMP") == 0) {
            if (chunk.length % 4 != 0) return CHUNK_TRUNCATED;
            for (uint32_t i = 0; i < chunk.length; i += 4) {
                *sum += (int32_t)load32(chunk.payload + i);
            }
        } else if (isupper((unsigned char)chunk.tag[0])) {
            return CHUNK_UNKNOWN;
        } else {
            (*skipped)++;
        }
    }
    return status == CHUNK_END ? CHUNK_OK : status;
}

int main(void)
{
    static uint8_t image[256];
    buffer_t out = {image, 0, sizeof image};
    uint8_t values[8];
    long sum;
    int skipped;
    assert(crc32((const uint8_t *)"123456789", 9) == 0xCBF43926u); /* published check value */

    store32(values, 215);
    store32(values + 4, (uint32_t)-40);
    assert(write_chunk(&out, "TEMP", values, 8));
    assert(write_chunk(&out, "note", "calibrated in May", 17));
    assert(write_chunk(&out, "TEMP", values, 4));
    assert(!write_chunk(&out, "BIG!", image, sizeof image) && "no room");

    assert(sum_temperatures(image, out.size, &sum, &skipped) == CHUNK_OK);
    printf("sum of temperatures %.1f, skipped chunks %d\n", (double)sum / 10, skipped);
    assert(sum == 390 && skipped == 1);

    status_t cut = sum_temperatures(image, out.size - 1, &sum, &skipped);
    image[9] ^= 1; /* one flipped bit */
    status_t flipped = sum_temperatures(image, out.size, &sum, &skipped);
    image[9] ^= 1;
    assert(write_chunk(&out, "WIND", values, 4));
    status_t newer = sum_temperatures(image, out.size, &sum, &skipped);
    printf("%s / %s / %s\n", STATUS_TEXT[cut], STATUS_TEXT[flipped], STATUS_TEXT[newer]);
    assert(cut == CHUNK_TRUNCATED && flipped == CHUNK_BAD_CRC && newer == CHUNK_UNKNOWN);
    return 0;
}
