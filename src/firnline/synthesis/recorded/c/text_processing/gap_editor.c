/*
 * A text buffer for an editor: gap buffer plus an undo history.
 *
 * Problem: inserting in the middle of a plain array moves everything behind it for each key
 * stroke. Editors type many characters at one place, so the buffer keeps its free space as a
 * gap AT that place: typing fills the gap, and only jumps move text across it.
 *
 * Every change is recorded with its text, so that it can be taken back. Typed letters join the
 * change before them, and undo removes a word at once.
 */
#include <assert.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct change {
    struct change *older;
    bool inserted; /* false: the text was deleted */
    size_t at, length;
    char *text;
} change_t;

typedef struct {
    char *data;
    size_t capacity, gap_start, gap_end;
    change_t *history;
} editor_t;

static void *must(void *memory)
{
    if (memory == NULL) exit(EXIT_FAILURE);
    return memory;
}

size_t editor_length(const editor_t *e) { return e->capacity - (e->gap_end - e->gap_start); }

static void move_gap(editor_t *e, size_t at)
{
    if (at < e->gap_start) {
        e->gap_end -= e->gap_start - at;
        memmove(e->data + e->gap_end, e->data + at, e->gap_start - at);
    } else if (at > e->gap_start) {
        memmove(e->data + e->gap_start, e->data + e->gap_end, at - e->gap_start);
        e->gap_end += at - e->gap_start;
    }
    e->gap_start = at;
}

/* Make the gap at least n bytes wide; doubling keeps the total cost linear. */
static void widen_gap(editor_t *e, size_t n)
{
    if (e->gap_end - e->gap_start >= n) return;
    size_t tail = e->capacity - e->gap_end, capacity = (editor_length(e) + n) * 2;
    e->data = must(realloc(e->data, capacity));
    memmove(e->data + capacity - tail, e->data + e->gap_end, tail);
    e->gap_end = capacity - tail;
    e->capacity = capacity;
}

static void raw_insert(editor_t *e, size_t at, const char *text, size_t n)
{
    widen_gap(e, n + 1);
    move_gap(e, at);
    memcpy(e->data + e->gap_start, text, n);
    e->gap_start += n;
}

static void remember(editor_t *e, bool inserted, size_t at, const char *text, size_t n)
{
    change_t *top = e->history;
    bool joins = inserted && n == 1 && text[0] != ' ' && top && top->inserted
        && top->at + top->length == at;
    if (!joins) {
        e->history = must(malloc(sizeof *top));
        *e->history = (change_t){top, inserted, at, 0, NULL};
        top = e->history;
    }
    top->text = must(realloc(top->text, top->length + n + 1));
    memcpy(top->text + top->length, text, n);
    top->length += n;
}

/* Insert text; false if the position lies behind the end. */
bool editor_insert(editor_t *e, size_t at, const char *text)
{
    if (at > editor_length(e)) return false;
    raw_insert(e, at, text, strlen(text));
    remember(e, true, at, text, strlen(text));
    return true;
}

/* Delete n characters; false if the range is not inside the text. */
bool editor_delete(editor_t *e, size_t at, size_t n)
{
    if (at > editor_length(e) || n > editor_length(e) - at) return false;
    move_gap(e, at);
    remember(e, false, at, e->data + e->gap_end, n);
    e->gap_end += n;
    return true;
}

bool editor_undo(editor_t *e)
{
    change_t *change = e->history;
    if (change == NULL) return false;
    e->history = change->older;
    if (change->inserted) {
        move_gap(e, change->at);
        e->gap_end += change->length;
    } else {
        raw_insert(e, change->at, change->text, change->length);
    }
    free(change->text);
    free(change);
    return true;
}

static void expect(editor_t *e, const char *wanted)
{
    move_gap(e, editor_length(e)); /* now the text is one piece at the start */
    printf("|%.*s|\n", (int)editor_length(e), e->data ? e->data : "");
    assert(strlen(wanted) == editor_length(e) && memcmp(wanted, e->data, e->gap_start) == 0);
}

int main(void)
{
    editor_t e = {0};
    const char *typed = "The cat sat";
    for (size_t i = 0; typed[i]; i++) editor_insert(&e, i, (char[]){typed[i], '\0'});
    editor_insert(&e, 4, "black ");
    expect(&e, "The black cat sat");
    assert(editor_delete(&e, 3, 6) && !editor_delete(&e, 9, 9) && !editor_insert(&e, 99, "x"));
    expect(&e, "The cat sat");
    for (int i = 0; i < 3; i++) editor_undo(&e);
    expect(&e, "The cat");
    while (editor_undo(&e)) assert(editor_length(&e) < 7);
    free(e.data);
    return 0;
}
