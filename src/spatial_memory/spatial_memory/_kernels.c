/* The loops of a search that NumPy cannot fuse: which pages and records lie within a radius, which may be nearest.
 *
 * Records lie in pages of 16. Everything is read where it lies and nothing is written but the outputs. All is exact:
 * places are compared in double precision, in the order of operations that NumPy uses; latents by bounds, so that what
 * is left out cannot be among the k nearest. Called through ctypes, without the interpreter.
 */
#include <math.h>
#include <stdint.h>

#define PAGE 16
#define TAU 6.283185307179586
#define DIMS 64 /* decoded at a time */
#define CHAINS 64 /* followed at a time */

/* One version per generation of processors, chosen when the library is loaded. */
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__)
#define EACH_CPU __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define EACH_CPU
#endif

static inline double larger(double a, double b) { return a > b ? a : b; }
static inline double smaller(double a, double b) { return a < b ? a : b; }

/* Where a cell's place in the hash table is looked for first. */
static inline int64_t place_of(uint64_t cell, int64_t shift) {
    return (int64_t)(cell * UINT64_C(0x9E3779B97F4A7C15) >> shift);
}

typedef float lanes __attribute__((vector_size(4 * PAGE), aligned(4), may_alias));

/* Pages of the lists of some cells, those lists left out whose bounds lie outside a radius.
 *
 * table_cell, table_list [places]: hash table, see celltable.py; list_box [L, 4], first [L] and list_size [L]: bounds,
 * first page and records of each list; next [P]: the page after each. Returns how many pages; where they are more than
 * `room` they are not all written.
 */
int64_t wm_pages(const uint64_t *cells, int64_t count, const uint64_t *table_cell, const int32_t *table_list,
                 int64_t places, int64_t shift, const double *list_box, const int32_t *first, const int64_t *list_size,
                 const int32_t *next, double at_x, double at_y, double radius2, int64_t *out_pages, int64_t room) {
    int64_t size = 0;
    for (int64_t start = 0; start < count; start += CHAINS) {
        int64_t end = start + CHAINS < count ? start + CHAINS : count, chains = 0, left = 0;
        int32_t page[CHAINS];
        int64_t at[CHAINS], last[CHAINS];
        for (int64_t i = start; i < end; i++) __builtin_prefetch(table_cell + place_of(cells[i], shift));
        for (int64_t i = start; i < end; i++) {
            int64_t place = place_of(cells[i], shift);
            while (table_cell[place] && table_cell[place] != cells[i]) place = (place + 1) & (places - 1);
            if (!table_cell[place] || table_list[place] < 0) continue;
            int32_t list = table_list[place];
            const double *b = list_box + 4 * list;
            double dx = larger(larger(b[0] - at_x, at_x - b[2]), 0.0), dy = larger(larger(b[1] - at_y, at_y - b[3]), 0.0);
            if (!(dx * dx + dy * dy <= radius2)) continue;
            page[chains] = first[list];
            at[chains] = size;
            size += (list_size[list] + PAGE - 1) / PAGE;
            last[chains++] = size;
        }
        if (size > room) continue;
        /* All chains a step at a time: the memory's answers overlap. */
        do {
            left = 0;
            for (int64_t i = 0; i < chains; i++) {
                if (at[i] == last[i]) continue;
                out_pages[at[i]++] = page[i];
                page[i] = next[page[i]];
                left += at[i] < last[i];
            }
        } while (left);
    }
    return size;
}

/* Pages that hold something within a radius of a point, and which of their slots that is.
 *
 * box [P, 4]: min x, min y, max x, max y of each page, or more; x, y [P, 16]; live [P]: one bit per slot in use.
 * out_pages and out_bits have room for `count`. Returns how many pages; *found: how many records.
 */
EACH_CPU
int64_t wm_within(const int64_t *pages, int64_t count, const double *box, const double *x, const double *y,
                  const uint16_t *live, double at_x, double at_y, double radius2, int64_t *out_pages,
                  uint16_t *out_bits, int64_t *found) {
    int64_t near = 0, kept = 0, records = 0;
    for (int64_t i = 0; i < count; i++) {
        if (i + 16 < count) {
            __builtin_prefetch(box + 4 * pages[i + 16]);
            __builtin_prefetch(live + pages[i + 16]);
        }
        const double *b = box + 4 * pages[i];
        double left = b[0] - at_x, right = at_x - b[2], below = b[1] - at_y, above = at_y - b[3];
        double dx = larger(larger(left, right), 0.0), dy = larger(larger(below, above), 0.0);
        if (!(dx * dx + dy * dy <= radius2)) continue;
        dx = larger(-left, -right), dy = larger(-below, -above);
        int inside = dx * dx + dy * dy <= radius2;
        if (!inside)
            for (int line = 0; line < PAGE; line += 8) {
                __builtin_prefetch(x + PAGE * pages[i] + line);
                __builtin_prefetch(y + PAGE * pages[i] + line);
            }
        out_pages[near] = inside ? pages[i] : ~pages[i]; /* a page to be looked into is marked by its complement */
        near++;
    }
    for (int64_t i = 0; i < near; i++) {
        int64_t page = out_pages[i];
        unsigned bits = 0xffff;
        if (page < 0) {
            page = ~page;
            bits = 0;
            for (int j = 0; j < PAGE; j++) {
                double dx = x[PAGE * page + j] - at_x, dy = y[PAGE * page + j] - at_y;
                bits |= (unsigned)(dx * dx + dy * dy <= radius2) << j;
            }
        }
        bits &= live[page];
        if (!bits) continue;
        out_pages[kept] = page;
        out_bits[kept++] = (uint16_t)bits;
        records += __builtin_popcount(bits);
    }
    *found = records;
    return kept;
}

/* Put a value in place of the largest of a max-heap. */
static void replace_top(double *heap, int64_t size, double value) {
    int64_t at = 0;
    for (int64_t child; (child = 2 * at + 1) < size; at = child) {
        if (child + 1 < size && heap[child + 1] > heap[child]) child++;
        if (heap[child] <= value) break;
        heap[at] = heap[child];
    }
    heap[at] = value;
}

/* Squared distances of a page's sketched latents to the one wanted; dim is even, the last value may be padding. */
static inline __attribute__((always_inline)) void sketched(const int8_t *code, const float *scale, int64_t dim,
                                                           const float *wanted, float *out) {
    float decoded[DIMS * PAGE];
    lanes factor = *(const lanes *)scale, even = {0}, odd = {0};
    for (int64_t start = 0; start < dim; start += DIMS) {
        int64_t some = dim - start < DIMS ? dim - start : DIMS;
        for (int64_t i = 0; i < some * PAGE; i++) decoded[i] = code[start * PAGE + i];
        for (int64_t d = 0; d < some; d += 2) {
            lanes one = factor * *(const lanes *)(decoded + PAGE * d) - wanted[start + d];
            lanes two = factor * *(const lanes *)(decoded + PAGE * d + PAGE) - wanted[start + d + 1];
            even += one * one;
            odd += two * two;
        }
    }
    *(lanes *)out = even + odd;
}

/* Slots that may be among the k nearest: their lower bounds do not exceed the k-th smallest upper bound.
 *
 * code [P, dim, 16], scale [P, 16]: latents, each value within half a scale of its code; wanted [dim]: NULL: ranked by
 * pose alone. heading [P, 16]. pose_weight: what a squared pose distance counts; 0: ranked by latent alone.
 * half_diagonal: half of sqrt(dim), a little more; rounding: relative error of a distance in single precision.
 * heap has room for k, slots and lowers for all bits that are set. Returns how many slots.
 */
EACH_CPU
int64_t wm_nearest(const int64_t *pages, const uint16_t *bits, int64_t count, const int8_t *code, const float *scale,
                   int64_t dim, const float *wanted, double half_diagonal, double rounding, const double *x,
                   const double *y, const float *heading, double at_x, double at_y, double at_heading,
                   double heading_weight, double pose_weight, int64_t k, double *heap, int64_t *slots, double *lowers) {
    const int64_t ahead = 8;
    int64_t size = 0, kept = 0;
    for (int64_t i = 0; i < k; i++) heap[i] = INFINITY;
    for (int64_t i = 0; i < count; i++) {
        int64_t page = pages[i], later = i + ahead < count ? pages[i + ahead] : page;
        float latent2[PAGE] = {0};
        const float *factor = scale + PAGE * page;
        if (wanted) {
            for (int64_t line = 0; line < PAGE * dim; line += 64) __builtin_prefetch(code + PAGE * dim * later + line);
            __builtin_prefetch(scale + PAGE * later);
            sketched(code + PAGE * dim * page, factor, dim, wanted, latent2);
        }
        if (pose_weight > 0) {
            __builtin_prefetch(x + PAGE * later), __builtin_prefetch(x + PAGE * later + 8);
            __builtin_prefetch(y + PAGE * later), __builtin_prefetch(y + PAGE * later + 8);
            __builtin_prefetch(heading + PAGE * later);
        }
        for (unsigned left = bits[i]; left; left &= left - 1) {
            int j = __builtin_ctz(left);
            double lower = 0, upper = 0;
            if (wanted) {
                double distance = sqrt((double)latent2[j]), unsure = half_diagonal * factor[j] + rounding * distance;
                lower = distance > unsure ? distance - unsure : 0.0, upper = distance + unsure;
                lower *= lower, upper *= upper;
            }
            if (pose_weight > 0) {
                double dx = x[PAGE * page + j] - at_x, dy = y[PAGE * page + j] - at_y;
                double turn = fabs(heading[PAGE * page + j] - at_heading);
                turn = smaller(turn, TAU - turn) * heading_weight;
                double pose2 = pose_weight * (turn * turn + (dx * dx + dy * dy));
                lower += pose2 * (1 - 1e-12), upper += pose2 * (1 + 1e-12);
            }
            if (upper < heap[0]) replace_top(heap, k, upper);
            slots[size] = PAGE * page + j;
            lowers[size++] = lower;
        }
    }
    for (int64_t i = 0; i < size; i++)
        if (lowers[i] <= heap[0]) slots[kept++] = slots[i];
    return kept;
}
