/* SPDX-License-Identifier: Apache-2.0
 * Topology files: lines of words, see README.md. Numbers are read and written in the C locale, whatever the program
 * has set, and doubles with all their digits, so that a saved topology loads back equal. */
#include <errno.h>
#include <locale.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "src/fault.h"
#include "topology/carrier.h"
#include "topology/outline.h"

#define BLANKS          " \t\r\v\f"
#define FORMAT_VERSION  "1"
#define MAX_FILE_BYTES  ((size_t)1 << 30)
#define RANKS_PER_LINE  16
#define TEMPORARY_TRIES 100

/* Most of a path that is put into an error. */
#define PATH_TAIL 72

/* A file being read. Level lines wait in `levels` until the topology, with its default links, is there. */
typedef struct reader {
    const char *path;
    int line; /* 1 = first */
    int num_ranks;
    tli_arena_t *arena;
    int has_header;
    int has_suffix;
    tli_outline_t outline; /* no levels until the shape is read */
    int num_placed;        /* slots filled by ranks lines */
    int *line_of_rank;     /* [num_slots] line that placed the rank; 0 = none yet */
    int num_levels;
    char *levels[TULLE_TOPOLOGY_MAX_LEVELS];
    int level_lines[TULLE_TOPOLOGY_MAX_LEVELS];
} reader_t;

static const char *path_tail(const char *path)
{
    size_t length = strlen(path);
    return length > PATH_TAIL ? path + length - PATH_TAIL : path;
}

__attribute__((format(printf, 3, 4))) static tulle_status_t line_error(const reader_t *reader, const char *where,
                                                                       const char *format, ...)
{
    va_list arguments;
    char message[256];
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    return tli_fail(TULLE_ERR_ARG, 0, where, "%s:%d: %s", path_tail(reader->path), reader->line, message);
}

/* Both expect `st`, `done` and a `reader` like the macros of src/fault.h. */
#define REQUIRE_LINE(condition, ...)                                                                                   \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            st = line_error(reader, TLI_WHERE, __VA_ARGS__);                                                           \
            goto done;                                                                                                 \
        }                                                                                                              \
    } while (0)
#define TRY_LINE(call)                                                                                                 \
    do {                                                                                                               \
        st = (call);                                                                                                   \
        if (st == TULLE_ERR_ARG)                                                                                       \
            st = line_error(reader, tulle_last_error()->where, "%s", tulle_last_error()->text);                        \
        if (st != TULLE_OK)                                                                                            \
            goto done;                                                                                                 \
    } while (0)

/* Cut the next word off a line; NULL when there is none. */
static char *take_word(char **rest)
{
    char *word = *rest + strspn(*rest, BLANKS);
    char *end = word + strcspn(word, BLANKS);
    *rest = *end == '\0' ? end : end + 1;
    *end = '\0';
    return *word == '\0' ? NULL : word;
}

static char *trim(char *text)
{
    char *end = text + strlen(text);
    while (end > text && strchr(BLANKS, end[-1]) != NULL)
        end--;
    *end = '\0';
    return text + strspn(text, BLANKS);
}

static tulle_status_t read_header(reader_t *reader, const char *keyword, char *rest)
{
    tulle_status_t st = TULLE_OK;
    const char *version = trim(rest);
    REQUIRE_LINE(strcmp(keyword, "tulle-topology") == 0,
                 "not a topology file: the first line must be \"tulle-topology " FORMAT_VERSION "\", not \"%.40s\"",
                 keyword);
    REQUIRE_LINE(strcmp(version, FORMAT_VERSION) == 0,
                 "format version \"%.20s\" is unknown; this library reads version " FORMAT_VERSION, version);
    reader->has_header = 1;
done:
    return st;
}

static tulle_status_t read_shape(reader_t *reader, char *rest)
{
    tulle_status_t st = TULLE_OK;
    REQUIRE_LINE(reader->outline.num_levels == 0, "a second shape; keep one");
    TRY_LINE(tli_outline_parse(trim(rest), reader->num_ranks, reader->arena, &reader->outline, &reader->has_suffix));
    TLI_TRY(tli_arena_alloc(reader->arena, reader->outline.num_slots, sizeof(int), &reader->line_of_rank));
done:
    return st;
}

static tulle_status_t read_ranks(reader_t *reader, char *rest)
{
    tulle_status_t st = TULLE_OK;
    const tli_outline_t *outline = &reader->outline;
    REQUIRE_LINE(outline->num_levels > 0, "ranks before the shape; write the shape first");
    REQUIRE_LINE(!reader->has_suffix, "ranks after a shape with a placement suffix; drop one of them");
    for (char *word = take_word(&rest); word != NULL; word = take_word(&rest)) {
        char *end = word;
        long rank = strtol(word, &end, 10);
        REQUIRE_LINE(*end == '\0' && rank >= 0 && rank < outline->num_slots, "\"%.24s\" is not a rank from 0 to %d",
                     word, outline->num_slots - 1);
        REQUIRE_LINE(reader->line_of_rank[rank] == 0, "rank %ld again, after line %d; every rank holds one slot", rank,
                     reader->line_of_rank[rank]);
        /* Ranks are in range and differ: there are never more of them than slots. */
        outline->rank_of_slot[reader->num_placed++] = (int)rank;
        reader->line_of_rank[rank] = reader->line;
    }
done:
    return st;
}

static tulle_status_t keep_level(reader_t *reader, char *rest)
{
    tulle_status_t st = TULLE_OK;
    int most = reader->outline.num_levels + 1;
    REQUIRE_LINE(reader->outline.num_levels > 0, "level before the shape; write the shape first");
    REQUIRE_LINE(reader->num_levels < most, "one level too many; this shape has %d, the last lies between ranks", most);
    reader->levels[reader->num_levels] = rest;
    reader->level_lines[reader->num_levels++] = reader->line;
done:
    return st;
}

static tulle_status_t read_line(reader_t *reader, char *line)
{
    tulle_status_t st = TULLE_OK;
    char *rest = line;
    char *keyword = NULL;
    line[strcspn(line, "#")] = '\0';
    keyword = take_word(&rest);
    if (keyword == NULL)
        goto done;
    if (!reader->has_header)
        TLI_TRY(read_header(reader, keyword, rest));
    else if (strcmp(keyword, "shape") == 0)
        TLI_TRY(read_shape(reader, rest));
    else if (strcmp(keyword, "ranks") == 0)
        TLI_TRY(read_ranks(reader, rest));
    else if (strcmp(keyword, "level") == 0)
        TLI_TRY(keep_level(reader, rest));
    else
        REQUIRE_LINE(0, "unknown word \"%.40s\"; known are shape, ranks and level", keyword);
done:
    return st;
}

static tulle_status_t read_lines(reader_t *reader, char *text)
{
    tulle_status_t st = TULLE_OK;
    const tli_outline_t *outline = &reader->outline;
    for (char *line = text; line != NULL;) {
        char *end = strchr(line, '\n');
        if (end != NULL)
            *end++ = '\0';
        reader->line++;
        TLI_TRY(read_line(reader, line));
        line = end;
    }
    REQUIRE_LINE(outline->num_levels > 0, "the file ends without a shape; write for instance \"shape 2x4\"");
    REQUIRE_LINE(reader->num_placed == 0 || reader->num_placed == outline->num_slots,
                 "the ranks lines give %d ranks but the shape has %d", reader->num_placed, outline->num_slots);
    REQUIRE_LINE(reader->num_levels == 0 || reader->num_levels == outline->num_levels + 1,
                 "the file gives %d levels but the shape has %d, the last between ranks", reader->num_levels,
                 outline->num_levels + 1);
done:
    return st;
}

/* One key=value of a level line. */
static tulle_status_t read_link_value(const reader_t *reader, char *word, tulle_link_t *link, tulle_carrier_t *carrier)
{
    tulle_status_t st = TULLE_OK;
    char *value = strchr(word, '=');
    char *end = value;
    REQUIRE_LINE(value != NULL && value[1] != '\0', "\"%.40s\" has no value; write key=value without spaces", word);
    *value++ = '\0';
    if (strcmp(word, "latency_ns") == 0) {
        link->latency_ns = strtod(value, &end);
    } else if (strcmp(word, "bytes_per_second") == 0) {
        link->bytes_per_second = strtod(value, &end);
    } else if (strcmp(word, "overhead_ns") == 0) {
        link->overhead_ns = strtod(value, &end);
    } else if (strcmp(word, "group_bytes_per_second") == 0) {
        link->group_bytes_per_second = strtod(value, &end);
    } else if (strcmp(word, "group_overhead_ns") == 0) {
        link->group_overhead_ns = strtod(value, &end);
    } else if (strcmp(word, "num_links") == 0) {
        long count = strtol(value, &end, 10);
        REQUIRE_LINE(count >= 0 && count <= INT32_MAX, "\"%.24s\" is no number of links; 0 = one per rank", value);
        link->num_links = (int32_t)count;
    } else {
        REQUIRE_LINE(tli_carrier_read(word, value, &end, carrier),
                     "unknown key \"%.40s\"; known are latency_ns, bytes_per_second, num_links, overhead_ns, "
                     "group_bytes_per_second, group_overhead_ns, carrier, {mpi,ucx}_{small,large}_ns",
                     word);
        REQUIRE_LINE(*end == '\0' || strcmp(word, "carrier") != 0, "\"%.24s\" is no transport", value);
    }
    REQUIRE_LINE(*end == '\0', "\"%.24s\" is not a number", value);
done:
    return st;
}

/* Name and link of a level; what the line leaves out stays at the default. */
static tulle_status_t read_level(reader_t *reader, int level, tulle_topology_t *topology)
{
    tulle_status_t st = TULLE_OK;
    char *rest = reader->levels[level];
    char *word = take_word(&rest);
    tulle_link_t link = topology->levels[level].link;
    tulle_carrier_t carrier = topology->levels[level].carrier;
    reader->line = reader->level_lines[level];
    REQUIRE_LINE(word != NULL, "a level without a name; write for instance \"level node latency_ns=2000\"");
    TRY_LINE(tli_topology_set_name(topology, level, word));
    for (word = take_word(&rest); word != NULL; word = take_word(&rest))
        TLI_TRY(read_link_value(reader, word, &link, &carrier));
    TRY_LINE(tulle_topology_set_link(topology, level, &link));
    TRY_LINE(tulle_topology_set_carrier(topology, level, &carrier));
done:
    return st;
}

/* Set the C locale for this thread; (locale_t)0 when there is no memory for it. */
static tulle_status_t enter_c_locale(locale_t *c_locale_out, locale_t *previous_out)
{
    tulle_status_t st = TULLE_OK;
    locale_t c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    TLI_REQUIRE(c_locale != (locale_t)0, TULLE_ERR_NOMEM, "cannot make the C locale: %s", strerror(errno));
    *previous_out = uselocale(c_locale);
    *c_locale_out = c_locale;
done:
    return st;
}

static void leave_c_locale(locale_t c_locale, locale_t previous)
{
    if (c_locale == (locale_t)0)
        return;
    uselocale(previous);
    freelocale(c_locale);
}

/* The whole file as text; the buffer doubles, what it leaves behind goes with the arena. */
static tulle_status_t read_all(const char *path, tli_arena_t *arena, char **text_out)
{
    tulle_status_t st = TULLE_OK;
    FILE *file = fopen(path, "rb");
    char *text = NULL;
    size_t length = 0;
    size_t capacity = 0;
    TLI_REQUIRE(file != NULL, TULLE_ERR_FILE, "cannot open topology file %s: %s", path_tail(path), strerror(errno));
    do {
        char *longer = NULL;
        capacity = capacity == 0 ? 16384 : 2 * capacity;
        TLI_REQUIRE(capacity <= MAX_FILE_BYTES, TULLE_ERR_FILE, "%s is longer than any topology file", path_tail(path));
        TLI_TRY(tli_arena_alloc_raw(arena, (int64_t)capacity, 1, &longer));
        memcpy(longer, length == 0 ? "" : text, length);
        text = longer;
        length += fread(text + length, 1, capacity - 1 - length, file);
        TLI_REQUIRE(!ferror(file), TULLE_ERR_FILE, "cannot read topology file %s: %s", path_tail(path),
                    strerror(errno));
    } while (!feof(file));
    TLI_REQUIRE(memchr(text, '\0', length) == NULL, TULLE_ERR_ARG, "%s is not a text file", path_tail(path));
    text[length] = '\0';
    *text_out = text;
done:
    if (file != NULL)
        fclose(file);
    return st;
}

tulle_status_t tulle_topology_load(const char *path, int num_ranks, tulle_topology_t **topology_out)
{
    tulle_status_t st = TULLE_OK;
    tli_arena_t scratch = TLI_ARENA_INIT;
    reader_t reader = {.path = path, .num_ranks = num_ranks, .arena = &scratch};
    tulle_topology_t *topology = NULL;
    locale_t c_locale = (locale_t)0;
    locale_t previous = (locale_t)0;
    char *text = NULL;
    TLI_REQUIRE(path != NULL && topology_out != NULL, TULLE_ERR_ARG, "the path or the output pointer is NULL");
    TLI_TRY(enter_c_locale(&c_locale, &previous));
    TLI_TRY(read_all(path, &scratch, &text));
    TLI_TRY(read_lines(&reader, text));
    TLI_TRY(tli_outline_build(&reader.outline, &topology));
    for (int l = 0; l < reader.num_levels; l++)
        TLI_TRY(read_level(&reader, l, topology));
    *topology_out = topology;
    topology = NULL;
done:
    leave_c_locale(c_locale, previous);
    tulle_topology_destroy(&topology);
    tli_arena_release(&scratch);
    return st;
}

static void write_ranks(const tli_outline_t *outline, FILE *file)
{
    for (int slot = 0; slot < outline->num_slots; slot++) {
        int is_last = slot + 1 == outline->num_slots || (slot + 1) % RANKS_PER_LINE == 0;
        fprintf(file, "%s%d%s", slot % RANKS_PER_LINE == 0 ? "ranks " : " ", outline->rank_of_slot[slot],
                is_last ? "\n" : "");
    }
}

static void write_levels(const tulle_topology_t *topology, FILE *file)
{
    for (int l = 0; l < topology->num_levels; l++) {
        const tulle_link_t *link = &topology->levels[l].link;
        fprintf(file, "level %s latency_ns=%.17g bytes_per_second=%.17g num_links=%d", topology->levels[l].name,
                link->latency_ns, link->bytes_per_second, (int)link->num_links);
        /* Left out where nobody set them: what older libraries wrote and read stays the same. */
        if (link->overhead_ns > 0)
            fprintf(file, " overhead_ns=%.17g", link->overhead_ns);
        if (link->group_bytes_per_second > 0)
            fprintf(file, " group_bytes_per_second=%.17g", link->group_bytes_per_second);
        if (link->group_overhead_ns > 0)
            fprintf(file, " group_overhead_ns=%.17g", link->group_overhead_ns);
        tli_carrier_write(&topology->levels[l].carrier, file);
        fprintf(file, "\n");
    }
}

/* Errors of the stream stay on it; the caller looks once, after the last write. */
static tulle_status_t write_file(const tulle_topology_t *topology, FILE *file)
{
    tulle_status_t st = TULLE_OK;
    tli_arena_t scratch = TLI_ARENA_INIT;
    tli_outline_t outline;
    tli_placement_t placement = TLI_PLACEMENT_BLOCK;
    int shape_length = (int)strlen(topology->text);
    TLI_TRY(tli_outline_of(topology, &scratch, &outline));
    TLI_TRY(tli_outline_placement(&outline, &placement));
    if (placement == TLI_PLACEMENT_CUSTOM)
        shape_length = (int)strcspn(topology->text, ":");
    fprintf(file, "tulle-topology " FORMAT_VERSION "\nshape %.*s\n", shape_length, topology->text);
    if (placement == TLI_PLACEMENT_CUSTOM)
        write_ranks(&outline, file);
    write_levels(topology, file);
done:
    tli_arena_release(&scratch);
    return st;
}

/* Create a new file beside the final one, so that the rename stays inside one file system. */
static tulle_status_t open_temporary(const char *path, char *temporary, size_t size, FILE **file_out)
{
    tulle_status_t st = TULLE_OK;
    FILE *file = NULL;
    errno = EEXIST;
    for (int try = 0; try < TEMPORARY_TRIES && file == NULL && errno == EEXIST; try++) {
        snprintf(temporary, size, "%s.%ld.%d.tmp", path, (long)getpid(), try);
        file = fopen(temporary, "wx");
    }
    TLI_REQUIRE(file != NULL, TULLE_ERR_FILE, "cannot create %s: %s", path_tail(temporary), strerror(errno));
    *file_out = file;
done:
    return st;
}

tulle_status_t tulle_topology_save(const tulle_topology_t *topology, const char *path)
{
    tulle_status_t st = TULLE_OK;
    tli_arena_t scratch = TLI_ARENA_INIT;
    locale_t c_locale = (locale_t)0;
    locale_t previous = (locale_t)0;
    char *temporary = NULL;
    FILE *file = NULL;
    int is_left_behind = 0;
    int has_failed = 0;
    TLI_REQUIRE(topology != NULL && path != NULL, TULLE_ERR_ARG, "the topology or the path is NULL");
    TLI_TRY(tli_arena_alloc(&scratch, (int64_t)strlen(path) + 64, 1, &temporary));
    TLI_TRY(enter_c_locale(&c_locale, &previous));
    TLI_TRY(open_temporary(path, temporary, strlen(path) + 64, &file));
    is_left_behind = 1;
    TLI_TRY(write_file(topology, file));
    has_failed = ferror(file);
    has_failed |= fclose(file);
    file = NULL;
    TLI_REQUIRE(!has_failed, TULLE_ERR_FILE, "cannot write %s: %s", path_tail(temporary), strerror(errno));
    TLI_REQUIRE(rename(temporary, path) == 0, TULLE_ERR_FILE, "cannot replace %s: %s", path_tail(path),
                strerror(errno));
    is_left_behind = 0;
done:
    if (file != NULL)
        fclose(file);
    if (is_left_behind)
        remove(temporary);
    leave_c_locale(c_locale, previous);
    tli_arena_release(&scratch);
    return st;
}
