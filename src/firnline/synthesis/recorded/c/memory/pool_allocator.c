/*
 * Fixed-size block pools with checks against misuse.
 *
 * Problem: a simulation creates and destroys millions of equal-sized particles. A general
 * allocator spends time and header bytes on each. A pool takes large slabs from malloc, cuts
 * them into blocks, and links free blocks through their own memory, so both operations are a
 * few instructions. Because such pools make "double free" easy to overlook, every block also
 * owns one bit that says whether it is in use.
 */
#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCKS_PER_SLAB = 256 };

typedef struct slab {
    struct slab *next;
    uint8_t used[BLOCKS_PER_SLAB / 8];
    unsigned char *blocks;
} slab_t;

typedef struct free_block { struct free_block *next; } free_block_t;

typedef struct {
    size_t block_size, live; /* live: blocks handed out at the moment */
    slab_t *slabs;
    free_block_t *free_list;
} pool_t;

typedef enum { POOL_OK, POOL_FOREIGN_POINTER, POOL_DOUBLE_FREE } pool_status_t;

/* Prepare a pool for objects of the given size; memory is taken on first use. */
void pool_init(pool_t *pool, size_t object_size)
{
    size_t unit = _Alignof(max_align_t);
    size_t size = object_size < sizeof(free_block_t) ? sizeof(free_block_t) : object_size;
    memset(pool, 0, sizeof *pool);
    pool->block_size = (size + unit - 1) / unit * unit;
}

/* Find the slab that holds a block and the block's index; NULL if it is not ours. */
static slab_t *find_slab(const pool_t *pool, const void *block, size_t *index)
{
    uintptr_t address = (uintptr_t)block;
    for (slab_t *slab = pool->slabs; slab != NULL; slab = slab->next) {
        uintptr_t start = (uintptr_t)slab->blocks;
        if (address < start || address >= start + BLOCKS_PER_SLAB * pool->block_size) continue;
        *index = (address - start) / pool->block_size;
        return (address - start) % pool->block_size == 0 ? slab : NULL;
    }
    return NULL;
}

static bool pool_grow(pool_t *pool)
{
    slab_t *slab = calloc(1, sizeof *slab);
    if (slab != NULL) slab->blocks = malloc(BLOCKS_PER_SLAB * pool->block_size);
    if (slab == NULL || slab->blocks == NULL) {
        free(slab);
        return false;
    }
    slab->next = pool->slabs;
    pool->slabs = slab;
    for (size_t i = BLOCKS_PER_SLAB; i-- > 0;) { /* backwards: low addresses come out first */
        free_block_t *block = (free_block_t *)(slab->blocks + i * pool->block_size);
        block->next = pool->free_list;
        pool->free_list = block;
    }
    return true;
}

/* A zeroed block, or NULL when the system has no more memory. */
void *pool_take(pool_t *pool)
{
    if (pool->free_list == NULL && !pool_grow(pool)) return NULL;
    free_block_t *block = pool->free_list;
    size_t index = 0;
    slab_t *slab = find_slab(pool, block, &index);
    slab->used[index / 8] |= (uint8_t)(1u << (index % 8));
    pool->free_list = block->next;
    pool->live++;
    return memset(block, 0, pool->block_size);
}

/* Give a block back. Misuse is reported and changes nothing. */
pool_status_t pool_give(pool_t *pool, void *block)
{
    size_t index = 0;
    slab_t *slab = find_slab(pool, block, &index);
    if (slab == NULL) return POOL_FOREIGN_POINTER;
    uint8_t bit = (uint8_t)(1u << (index % 8));
    if ((slab->used[index / 8] & bit) == 0) return POOL_DOUBLE_FREE;
    slab->used[index / 8] &= (uint8_t)~bit;
    ((free_block_t *)block)->next = pool->free_list;
    pool->free_list = block;
    pool->live--;
    return POOL_OK;
}

/* Release everything; returns how many blocks had been forgotten. */
size_t pool_destroy(pool_t *pool)
{
    size_t leaked = pool->live;
    while (pool->slabs != NULL) {
        slab_t *slab = pool->slabs;
        pool->slabs = slab->next;
        free(slab->blocks);
        free(slab);
    }
    memset(pool, 0, sizeof *pool);
    return leaked;
}

typedef struct { double x, y; int kind; } particle_t;

int main(void)
{
    pool_t pool;
    particle_t *all[1000], outside;
    pool_init(&pool, sizeof(particle_t));
    for (int i = 0; i < 1000; i++) {
        all[i] = pool_take(&pool);
        assert(all[i] != NULL && all[i]->kind == 0);
        *all[i] = (particle_t){.x = i, .y = -i, .kind = i % 3};
    }
    for (int i = 0; i < 1000; i += 2) assert(pool_give(&pool, all[i]) == POOL_OK);
    assert(pool_give(&pool, all[4]) == POOL_DOUBLE_FREE);
    assert(pool_give(&pool, &outside) == POOL_FOREIGN_POINTER);
    assert(pool_give(&pool, (char *)all[1] + 1) == POOL_FOREIGN_POINTER);
    assert(pool_take(&pool) == all[998]); /* the block freed last is reused first */
    assert(all[501]->x == 501 && pool.live == 501);
    size_t leaked = pool_destroy(&pool);
    printf("blocks forgotten at the end: %zu\n", leaked);
    assert(leaked == 501 && pool.slabs == NULL);
    return 0;
}
