/*
 * A string-keyed hash table with Robin Hood probing and backward-shift deletion.
 *
 * Problem: count how often each word occurs, in memory that is used compactly and without a
 * chain of small allocations. All entries live in one array. A newcomer that has travelled
 * farther from its home slot than the resident takes that slot, and the resident moves on; so
 * distances stay nearly equal, and a search may stop as soon as it meets an entry that is
 * closer to home than the searcher. Deletion moves the followers back, without tombstones.
 */
#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    char *key; /* NULL marks an empty slot */
    uint32_t hash;
    long value;
} slot_t;

typedef struct {
    slot_t *slots;
    size_t capacity, count; /* the capacity is zero or a power of two */
} table_t;

/* FNV-1a, finished by a mix because only the low bits select the slot. */
static uint32_t hash_text(const char *text)
{
    uint32_t h = 2166136261u;
    while (*text) h = (h ^ (unsigned char)*text++) * 16777619u;
    return h ^ h >> 15;
}

static size_t distance(const table_t *t, size_t at)
{
    return (at - t->slots[at].hash) & (t->capacity - 1);
}

/* Put an entry whose key is known to be absent; there must be a free slot. */
static void place(table_t *t, slot_t entry)
{
    size_t mask = t->capacity - 1, travelled = 0;
    for (size_t at = entry.hash & mask;; at = (at + 1) & mask, travelled++) {
        slot_t resident = t->slots[at];
        if (resident.key != NULL && distance(t, at) >= travelled) continue;
        size_t resident_travelled = resident.key ? distance(t, at) : 0;
        t->slots[at] = entry;
        if (resident.key == NULL) break;
        entry = resident;
        travelled = resident_travelled;
    }
    t->count++;
}

static slot_t *find(const table_t *t, const char *key, uint32_t hash)
{
    size_t mask = t->capacity - 1;
    for (size_t at = hash & mask, gone = 0; gone < t->capacity; at = (at + 1) & mask, gone++) {
        slot_t *slot = &t->slots[at];
        if (slot->key == NULL || distance(t, at) < gone) break;
        if (slot->hash == hash && strcmp(slot->key, key) == 0) return slot;
    }
    return NULL;
}

static int grow(table_t *t) /* returns 0 if memory is short */
{
    table_t bigger = {NULL, t->capacity ? t->capacity * 2 : 8, 0};
    bigger.slots = calloc(bigger.capacity, sizeof *bigger.slots);
    if (bigger.slots == NULL) return 0;
    for (size_t i = 0; i < t->capacity; i++) {
        if (t->slots[i].key) place(&bigger, t->slots[i]);
    }
    free(t->slots);
    *t = bigger;
    return 1;
}

/* The address of the key's value, created as 0 when absent; NULL if memory is short.
 * The address is valid until the next change of the table. */
long *table_at(table_t *t, const char *key)
{
    uint32_t hash = hash_text(key);
    slot_t *slot = find(t, key, hash);
    if (slot != NULL) return &slot->value;
    if ((t->count + 1) * 8 > t->capacity * 7 && !grow(t)) return NULL;
    slot_t entry = {malloc(strlen(key) + 1), hash, 0};
    if (entry.key == NULL) return NULL;
    strcpy(entry.key, key);
    place(t, entry);
    return &find(t, key, hash)->value;
}

/* Remove a key; returns 1 if it was there. Followers that are away from home move back. */
int table_remove(table_t *t, const char *key)
{
    slot_t *slot = find(t, key, hash_text(key));
    if (slot == NULL) return 0;
    free(slot->key);
    size_t mask = t->capacity - 1, hole = (size_t)(slot - t->slots);
    for (size_t next = (hole + 1) & mask; t->slots[next].key && distance(t, next) > 0;
         next = (next + 1) & mask) {
        t->slots[hole] = t->slots[next];
        hole = next;
    }
    t->slots[hole].key = NULL;
    t->count--;
    return 1;
}

void table_free(table_t *t)
{
    for (size_t i = 0; i < t->capacity; i++) free(t->slots[i].key);
    free(t->slots);
}

int main(void)
{
    table_t t = {0};
    char key[16];
    assert(!table_remove(&t, "nothing"));
    for (int i = 0; i < 15000; i++) {
        sprintf(key, "word%d", i * 7 % 5000);
        ++*table_at(&t, key);
    }
    assert(t.count == 5000 && *table_at(&t, "word6") == 3);
    for (int i = 0; i < 5000; i++) {
        sprintf(key, "word%d", i);
        if (i % 5 != 0) assert(table_remove(&t, key));
    }
    assert(!table_remove(&t, "word1") && t.count == 1000);
    for (int i = 0; i < 5000; i++) {
        sprintf(key, "word%d", i);
        assert((find(&t, key, hash_text(key)) != NULL) == (i % 5 == 0));
    }
    printf("%zu keys in %zu slots\n", t.count, t.capacity);
    table_free(&t);
    return 0;
}
