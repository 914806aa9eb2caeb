/* The loops of a search that NumPy cannot fuse: which pages and records lie within a radius, which may be nearest.
 *
 * Records lie in pages of 16. Everything is read where it lies and nothing is written but the outputs. All is exact:
 * places are compared in double precision, in the order of operations that NumPy uses; latents by bounds, so that what
 * is left out cannot be among the k nearest. Called through ctypes, without the interpreter, for many queries at once:
 * what belongs to query g ends in front of `.._end[g]` and begins where that of query g - 1 ends.
 */
#include <float.h>
#include <math.h>
#include <stdint.h>

#define PAGE 16
#define TAU 6.283185307179586
#define DIMS 64 /* decoded at a time */
#define CHAINS 64 /* followed at a time */
#define AHEAD 8 /* pages fetched ahead */

/* One version per generation of processors, chosen when the library is loaded. */
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__)
#define EACH_CPU __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define EACH_CPU
#endif

static inline double larger(double a, double b) { return a > b ? a : b; }
static inline double smaller(double a, double b) { return a < b ? a : b; }

/* Squared distance of a point to a box (min x, min y, max x, max y). */
static inline double box_distance2(const double *box, double x, double y) {
    double dx = larger(larger(box[0] - x, x - box[2]), 0.0), dy = larger(larger(box[1] - y, y - box[3]), 0.0);
    return dx * dx + dy * dy;
}

/* What a query asks for; places in a metric map. */
typedef struct {
    double x, y, radius2;
    double yaw, yaw_weight, pose_weight; /* score: latent_weight * latent distance^2 + pose_weight * ..., */
    double latent_weight;                        /* 0 or 1 */
    double k;
} ask;

/* Which sources this was built from. */
int64_t wm_version(void) { return WM_VERSION; }

/* One column of the records: so many bytes per slot. */
typedef struct {
    const char *start;
    int64_t size;
} column;

/* Where everything lies; kernels.py says the same. P = pages, L = lists. */
typedef struct {
    const uint64_t *table_cell; /* hash table from cells to lists, see celltable.py */
    const int32_t *table_list;
    int64_t table_places, table_shift;
    const double *list_box; /* [L, 4] min x, min y, max x, max y of each list, or more */
    const int32_t *first;   /* [L] first page of each list */
    const int64_t *size;    /* [L] records of each list */
    const int32_t *next;    /* [P] the list's page after each */
    const uint16_t *live;   /* [P] one bit per slot in use */
    const double *box;      /* [P, 4] as list_box, of each page */
    const double *x, *y;    /* [P, 16] */
    const float *yaw;   /* [P, 16] */
    const int8_t *code;     /* [P, dim, 16] latents, each value within half a scale of its code; dim is even */
    const float *scale;     /* [P, 16] */
    int64_t dim;
    const column *columns; /* of the records, to be fetched ahead for whoever reads what was found */
    int64_t column_count;
    /* Room for what comes out, and to work in. */
    int64_t *pages; /* [room], and as many bits and borders */
    uint16_t *bits;
    int32_t *border;
    int64_t *slots; /* [16 room], and as many lowers */
    double *lowers;
    double *heap; /* for the largest k */
    int64_t room;
    int64_t *page_end, *found, *slot_end; /* [queries] */
} view;

/* Where a cell's place in the hash table is looked for first. */
static inline int64_t place_of(uint64_t cell, int64_t shift) {
    return (int64_t)(cell * UINT64_C(0x9E3779B97F4A7C15) >> shift);
}

typedef float lanes __attribute__((vector_size(4 * PAGE), aligned(4), may_alias));
typedef int32_t marks __attribute__((vector_size(4 * PAGE), aligned(4), may_alias));

/* One bit per lane that is marked. */
static inline __attribute__((always_inline)) unsigned marked(marks lanes_marked) {
    int64_t halves[PAGE / 2], any = 0;
    __builtin_memcpy(halves, &lanes_marked, sizeof halves);
    for (int j = 0; j < PAGE / 2; j++) any |= halves[j];
    unsigned bits = 0;
    if (any)
        for (int j = 0; j < PAGE; j++) bits |= (unsigned)(lanes_marked[j] != 0) << j;
    return bits;
}

/* Write the pages of the lists of some cells, those lists left out whose bounds lie outside the radius.
 *
 * Returns how many pages; where they are more than there is room for, they are not all written.
 */
int64_t wm_pages(const view *v, int64_t queries, const ask *asked, const uint64_t *cells, const int64_t *cell_end) {
    const uint64_t *table_cell = v->table_cell;
    const int32_t *table_list = v->table_list;
    const int64_t places = v->table_places, shift = v->table_shift;
    int64_t size = 0, begin = 0;
    for (int64_t g = 0; g < queries; g++) {
        const ask q = asked[g];
        for (; begin < cell_end[g]; begin += CHAINS) {
            int64_t end = begin + CHAINS < cell_end[g] ? begin + CHAINS : cell_end[g], chains = 0, left = 0;
            int64_t at[CHAINS], last[CHAINS];
            int32_t page[CHAINS];
            for (int64_t i = begin; i < end; i++) __builtin_prefetch(table_cell + place_of(cells[i], shift));
            for (int64_t i = begin; i < end; i++) {
                int64_t place = place_of(cells[i], shift);
                while (table_cell[place] && table_cell[place] != cells[i]) place = (place + 1) & (places - 1);
                if (!table_cell[place] || table_list[place] < 0) continue;
                int32_t list = table_list[place];
                if (!(box_distance2(v->list_box + 4 * list, q.x, q.y) <= q.radius2)) continue;
                page[chains] = v->first[list];
                at[chains] = size;
                size += (v->size[list] + PAGE - 1) / PAGE;
                last[chains++] = size;
            }
            if (size > v->room) continue;
            /* All chains a step at a time: the memory's answers overlap. */
            do {
                left = 0;
                for (int64_t i = 0; i < chains; i++) {
                    if (at[i] == last[i]) continue;
                    v->pages[at[i]++] = page[i];
                    page[i] = v->next[page[i]];
                    left += at[i] < last[i];
                }
            } while (left);
        }
        begin = cell_end[g];
        v->page_end[g] = size;
    }
    return size;
}

/* Write one bit per slot of each page that is in use and lies within the radius, and how many those are. */
EACH_CPU
void wm_within(const view *v, int64_t queries, const ask *asked) {
    const int64_t *pages = v->pages, *page_end = v->page_end;
    const double *box = v->box, *x = v->x, *y = v->y;
    const uint16_t *live = v->live;
    uint16_t *bits = v->bits;
    int32_t *border = v->border;
    for (int64_t g = 0, i = 0; g < queries; g++) {
        const double at_x = asked[g].x, at_y = asked[g].y, radius2 = asked[g].radius2;
        const int64_t begin = i, end = page_end[g];
        int64_t crossing = 0, records = 0;
        for (; i < end; i++) { /* a page is wholly outside, wholly inside, or has to be looked into */
            if (i + 16 < end) {
                __builtin_prefetch(box + 4 * pages[i + 16]);
                __builtin_prefetch(live + pages[i + 16]);
            }
            const double *b = box + 4 * pages[i];
            bits[i] = 0;
            if (!(box_distance2(b, at_x, at_y) <= radius2)) continue;
            bits[i] = live[pages[i]];
            double dx = larger(at_x - b[0], b[2] - at_x), dy = larger(at_y - b[1], b[3] - at_y);
            if (dx * dx + dy * dy <= radius2) {
                records += __builtin_popcount(bits[i]);
                continue;
            }
            border[crossing++] = (int32_t)(i - begin);
            for (int line = 0; line < PAGE; line += 8) {
                __builtin_prefetch(x + PAGE * pages[i] + line);
                __builtin_prefetch(y + PAGE * pages[i] + line);
            }
        }
        for (int64_t c = 0; c < crossing; c++) {
            int64_t at = begin + border[c], page = pages[at];
            unsigned inside = 0;
            for (int j = 0; j < PAGE; j++) {
                double dx = x[PAGE * page + j] - at_x, dy = y[PAGE * page + j] - at_y;
                inside |= (unsigned)(dx * dx + dy * dy <= radius2) << j;
            }
            bits[at] &= (uint16_t)inside;
            records += __builtin_popcount(bits[at]);
        }
        v->found[g] = records;
    }
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

/* Squared distances of a page's coded latents to the one wanted; dim is even, the last value may be padding. */
static inline __attribute__((always_inline)) void coded(const int8_t *code, const float *scale, int64_t dim,
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

/* Write the slots that may be among the k nearest of those whose bit is set: their lower bounds do not exceed the k-th
 * smallest upper bound. wanted: [queries, dim]. Returns how many slots.
 */
EACH_CPU
int64_t wm_nearest(const view *v, int64_t queries, const ask *asked, const float *wanted) {
    const int64_t *pages = v->pages, *page_end = v->page_end, dim = v->dim;
    const double *x = v->x, *y = v->y;
    const float *yaw = v->yaw, *scale = v->scale;
    const int8_t *code = v->code;
    double *heap = v->heap, *lowers = v->lowers;
    int64_t *slots = v->slots;
    /* Of a code: half of sqrt(dim) scales, a little more. Relative, of a distance in single precision. */
    const double half_diagonal = 0.501 * sqrt((double)dim), rounding = 2.0 * (double)(dim + 16) * FLT_EPSILON;
    int64_t kept = 0, i = 0;
    for (int64_t g = 0; g < queries; g++) {
        const ask q = asked[g];
        const int64_t k = (int64_t)q.k < v->found[g] ? (int64_t)q.k : v->found[g];
        int64_t size = kept;
        for (int64_t j = 0; j < k; j++) heap[j] = INFINITY;
        if (k == 0) i = page_end[g];
        for (; i < page_end[g]; i++) {
            const int64_t page = pages[i], later = i + AHEAD < page_end[g] ? pages[i + AHEAD] : page;
            const float *factor = scale + PAGE * page;
            float latent2[PAGE] = {0};
            unsigned left = v->bits[i];
            if (q.pose_weight > 0) { /* a page that lies farther away than the k nearest so far holds none of them */
                __builtin_prefetch(v->box + 4 * later);
                if (q.pose_weight * box_distance2(v->box + 4 * page, q.x, q.y) * (1 - 1e-12) > heap[0]) continue;
            }
            if (q.latent_weight > 0) {
                for (int64_t line = 0; line < PAGE * dim; line += 64)
                    __builtin_prefetch(code + PAGE * dim * later + line);
                __builtin_prefetch(scale + PAGE * later);
                if (!left) continue;
                coded(code + PAGE * dim * page, factor, dim, wanted + dim * g, latent2);
                /* Most pages hold nothing that is near enough for the k nearest so far. */
                float reach = (float)(sqrt(heap[0]) * (1 + 4 * rounding));
                lanes limit = reach + (float)(half_diagonal * 1.001) * *(const lanes *)factor;
                left &= marked(~(*(lanes *)latent2 > limit * limit * (float)(1 + 4 * rounding)));
            }
            for (; left; left &= left - 1) {
                int j = __builtin_ctz(left);
                double lower = 0, upper = 0;
                if (q.latent_weight > 0) {
                    double distance = sqrt((double)latent2[j]), unsure = half_diagonal * factor[j] + rounding * distance;
                    lower = distance > unsure ? distance - unsure : 0.0, upper = distance + unsure;
                    lower *= lower, upper *= upper;
                }
                if (q.pose_weight > 0) {
                    double dx = x[PAGE * page + j] - q.x, dy = y[PAGE * page + j] - q.y;
                    double turn = fabs(yaw[PAGE * page + j] - q.yaw);
                    turn = smaller(turn, TAU - turn) * q.yaw_weight;
                    double pose2 = q.pose_weight * (turn * turn + (dx * dx + dy * dy));
                    lower += pose2 * (1 - 1e-12), upper += pose2 * (1 + 1e-12);
                }
                if (lower > heap[0]) continue;
                if (upper < heap[0]) replace_top(heap, k, upper);
                slots[size] = PAGE * page + j;
                lowers[size++] = lower;
            }
        }
        for (int64_t j = kept; j < size; j++) {
            if (lowers[j] > heap[0]) continue;
            for (int64_t c = 0; c < v->column_count; c++)
                for (int64_t byte = 0; byte < v->columns[c].size; byte += 64)
                    __builtin_prefetch(v->columns[c].start + v->columns[c].size * slots[j] + byte);
            slots[kept++] = slots[j];
        }
        v->slot_end[g] = kept;
    }
    return kept;
}

/* All three for queries that filter by radius alone. Returns how many pages; nothing is done where they are too many. */
int64_t wm_search(const view *v, int64_t queries, const ask *asked, const uint64_t *cells, const int64_t *cell_end,
                  const float *wanted) {
    int64_t size = wm_pages(v, queries, asked, cells, cell_end);
    if (size > v->room) return size;
    wm_within(v, queries, asked);
    wm_nearest(v, queries, asked, wanted);
    return size;
}
