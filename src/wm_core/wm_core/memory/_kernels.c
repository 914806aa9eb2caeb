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
#define BLOCK 128 /* records judged at a time */

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
    double latent_weight;                /* 0 or 1 */
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
    const float *yaw;       /* [P, 16] */
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

/* Features, each value one byte, and what they are compared with. */
typedef struct {
    const int8_t *feature; /* [slots, dim] */
    int64_t dim;           /* at most 65536, so that products fit 32 bits */
    const int16_t *wanted; /* [dim] */
    double *heap;          /* for the largest k */
    double wanted2;        /* product of what is wanted with itself */
    double cosine;         /* 1: by cosine distance, 0: by L2 */
    double slack;          /* how far two scores may be off together */
    double k;
} look;

/* Products of a feature with the one wanted and with itself; exact. */
static inline __attribute__((always_inline)) void products(const look *l, int64_t slot, int32_t *product,
                                                              int32_t *own) {
    const int8_t *feature = l->feature + l->dim * slot;
    const int16_t *wanted = l->wanted;
    int32_t with_wanted = 0, with_itself = 0;
    for (int64_t d = 0; d < l->dim; d++) { /* in 16 bits: processors multiply and add pairs of those at once */
        const int16_t value = feature[d];
        with_wanted += value * wanted[d], with_itself += value * value;
    }
    *product = with_wanted, *own = with_itself;
}

/* Write each slot whose bit is set, and the products of its feature with the one wanted and with itself. Returns how
 * many.
 */
EACH_CPU
int64_t wm_looks(const look *l, int64_t count, const int64_t *pages, const uint16_t *bits, int64_t *slots,
                 int32_t *product, int32_t *own) {
    int64_t size = 0;
    for (int64_t i = 0; i < count; i++)
        for (unsigned left = bits[i]; left; left &= left - 1) {
            slots[size] = PAGE * pages[i] + __builtin_ctz(left);
            products(l, slots[size], product + size, own + size);
            size++;
        }
    return size;
}

/* Write those of the slots whose bit is set that may be among the k nearest, and their scores: squared L2, or cosine
 * distances. Returns how many.
 */
EACH_CPU
int64_t wm_look_nearest(const look *l, int64_t count, const int64_t *pages, const uint16_t *bits, int64_t *slots,
                        double *score) {
    const int64_t k = (int64_t)l->k;
    int64_t size = 0, kept = 0;
    for (int64_t j = 0; j < k; j++) l->heap[j] = INFINITY;
    for (int64_t i = 0; i < count; i++)
        for (unsigned left = bits[i]; left; left &= left - 1) {
            const int64_t slot = PAGE * pages[i] + __builtin_ctz(left);
            int32_t product, own;
            products(l, slot, &product, &own);
            const double scale = sqrt((double)own * l->wanted2);
            const double found = l->cosine > 0 ? 1.0 - (scale > 0 ? (double)product / scale : 0.0)
                                               : (double)own - 2.0 * (double)product + l->wanted2;
            if (found > l->heap[0] + l->slack) continue;
            if (found < l->heap[0]) replace_top(l->heap, k, found);
            slots[size] = slot, score[size++] = found;
        }
    for (int64_t j = 0; j < size; j++)
        if (!(score[j] > l->heap[0] + l->slack)) slots[kept] = slots[j], score[kept++] = score[j];
    return kept;
}

/* Records as plain columns, ordered by the squares of a grid that they lie in; kernels.py says the same. N = records. */
typedef struct {
    const double *x, *y;    /* [N] */
    const float *yaw;       /* [N] */
    const int64_t *stamp;   /* [N] */
    const int32_t *session; /* [N] */
    const int64_t *id;      /* [N] equally near ones go by id */
    const float *latent;    /* [N, dim] */
    int64_t dim;
    const int64_t *start; /* [rows * columns + 1] first record of each square, squares row by row */
    double min_x, min_y, cell_m;
    int64_t columns, rows;
} table;

/* What a query filters by, besides the radius. */
typedef struct {
    int64_t oldest, newest; /* inclusive */
    int64_t session;        /* negative: any */
    double yaw_tolerance;   /* 0: any */
} bounds;

typedef struct {
    double distance;
    int64_t id, row;
} entry;

/* Which of two stands behind the other. */
static inline int is_farther(const entry *one, const entry *other) {
    return one->distance > other->distance || (one->distance == other->distance && one->id > other->id);
}

/* Put an entry in place of the farthest of a heap. */
static void replace_farthest(entry *heap, int64_t size, entry value) {
    int64_t at = 0;
    for (int64_t child; (child = 2 * at + 1) < size; at = child) {
        if (child + 1 < size && is_farther(heap + child + 1, heap + child)) child++;
        if (!is_farther(heap + child, &value)) break;
        heap[at] = heap[child];
    }
    heap[at] = value;
}

/* Which line of squares a coordinate lies in, kept within -1 and how many lines there are. */
static inline int64_t line_of(double offset, double cell_m, int64_t lines) {
    double line = floor(offset / cell_m);
    return line < 0 ? -1 : line >= (double)lines ? lines : (int64_t)line;
}

/* Squared distance of two latents; four sums at a time. */
static inline double latent_distance2(const float *latent, const double *wanted, int64_t dim) {
    double sums[4] = {0};
    int64_t d = 0;
    for (; d + 4 <= dim; d += 4)
        for (int j = 0; j < 4; j++) {
            double off = (double)latent[d + j] - wanted[d + j];
            sums[j] += off * off;
        }
    for (; d < dim; d++) {
        double off = (double)latent[d] - wanted[d];
        sums[0] += off * off;
    }
    return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

/* Up to what square a distance may not be farther: the roots of two different squares may be equal, told apart by id. */
static inline double limit_of(const entry *heap) { return heap[0].distance * heap[0].distance * (1 + 1e-15); }

/* Write each record's squared pose distance, and whether it passes every filter; so that all lanes do the same. */
static inline __attribute__((always_inline)) void judge(const table *t, const ask *q, const bounds *b,
                                                           const uint8_t *mask, int64_t begin, int64_t count,
                                                           double *pose2, int64_t *passes) {
    const double x = q->x, y = q->y, yaw = q->yaw, weight = q->yaw_weight, radius2 = q->radius2, most = b->yaw_tolerance;
    const int64_t any_place = !(radius2 > 0), any_yaw = !(most > 0), oldest = b->oldest, newest = b->newest;
    const double *x_N = t->x + begin, *y_N = t->y + begin;
    const float *yaw_N = t->yaw + begin;
    const int64_t *stamp_N = t->stamp + begin;
    for (int64_t i = 0; i < count; i++) {
        double dx = x_N[i] - x, dy = y_N[i] - y, planar2 = dx * dx + dy * dy;
        double turn = fabs((double)yaw_N[i] - yaw);
        turn = smaller(turn, TAU - turn);
        double weighted = turn * weight;
        pose2[i] = weighted * weighted + planar2;
        passes[i] = ((planar2 <= radius2) | any_place) & ((turn <= most) | any_yaw) & (stamp_N[i] >= oldest) &
                    (stamp_N[i] <= newest);
    }
    if (b->session >= 0)
        for (int64_t i = 0; i < count; i++) passes[i] &= t->session[begin + i] == b->session;
    if (mask)
        for (int64_t i = 0; i < count; i++) passes[i] &= mask[begin + i] != 0;
}

/* The nearest among some records that lie side by side. Returns how many pass every filter. */
static inline __attribute__((always_inline)) int64_t scan(const table *t, const ask *q, const bounds *b,
                                                             const double *wanted, const uint8_t *mask, int64_t begin,
                                                             int64_t end, entry *heap, int64_t k) {
    double pose2[BLOCK];
    int64_t passes[BLOCK], passed = 0;
    int32_t kept[BLOCK];
    for (int64_t count; begin < end; begin += count) {
        count = end - begin < BLOCK ? end - begin : BLOCK;
        judge(t, q, b, mask, begin, count, pose2, passes);
        const double limit2 = q->latent_weight > 0 ? INFINITY : limit_of(heap);
        int64_t size = 0;
        for (int64_t i = 0; i < count; i++) {
            kept[size] = (int32_t)i;
            size += passes[i] & !(pose2[i] > limit2);
            passed += passes[i];
        }
        for (int64_t j = 0; j < size; j++) {
            const int64_t n = begin + kept[j];
            entry found = {0, t->id[n], n};
            if (q->latent_weight > 0)
                found.distance = latent_distance2(t->latent + t->dim * n, wanted, t->dim) + q->pose_weight * pose2[kept[j]];
            else
                found.distance = sqrt(pose2[kept[j]]);
            if (is_farther(heap, &found)) replace_farthest(heap, k, found);
        }
    }
    return passed;
}

/* Write the records nearest to each query, nearest first, and how many passed its filters.
 *
 * Ranked by pose, or by squared latent distance (L2), plus pose_weight * squared pose distance. wanted: [queries, dim].
 * mask: [N] what else records have to pass, or null. row, distance: [queries, most], -1 and infinity where there are
 * fewer. heap: [most].
 */
EACH_CPU
void wm_table_nearest(const table *t, int64_t queries, const ask *asked, const bounds *bounded, const double *wanted,
                      const uint8_t *mask, entry *heap, int64_t *row, double *distance, int64_t most,
                      int64_t *passed) {
    for (int64_t g = 0; g < queries; g++, row += most, distance += most) {
        const ask q = asked[g];
        const int64_t k = (int64_t)q.k < most ? (int64_t)q.k : most;
        const double slack = 1e-9 * (1 + fabs(q.x) + fabs(q.y) + sqrt(q.radius2));
        const double reach = q.radius2 > 0 ? sqrt(q.radius2) + slack : INFINITY;
        const int64_t low = line_of(q.y - reach - t->min_y, t->cell_m, t->rows),
                      high = line_of(q.y + reach - t->min_y, t->cell_m, t->rows);
        for (int64_t j = 0; j < k; j++) heap[j] = (entry){INFINITY, INT64_MAX, -1};
        passed[g] = 0;
        const int64_t least = low < 0 ? 0 : low, last = high < t->rows ? high : t->rows - 1;
        int64_t middle = line_of(q.y - t->min_y, t->cell_m, t->rows);
        middle = middle < least ? least : middle > last ? last : middle;
        /* From the middle outwards: what lies near bounds what lies farther away. */
        for (int64_t left_over = last - least + 1, above = middle, below = middle - 1; left_over > 0; left_over--) {
            const int is_above = below < least || (above <= last && above - middle <= middle - below);
            const int64_t line = is_above ? above++ : below--;
            double bottom = t->min_y + (double)line * t->cell_m, top = bottom + t->cell_m;
            double off = larger(larger(bottom - q.y, q.y - top) - slack, 0.0);
            double half = isinf(reach) ? reach : sqrt(larger(reach * reach - off * off, 0.0)) + slack;
            int64_t left = line_of(q.x - half - t->min_x, t->cell_m, t->columns),
                    right = line_of(q.x + half - t->min_x, t->cell_m, t->columns);
            if (right < 0 || left >= t->columns) continue;
            const int64_t *squares = t->start + line * t->columns;
            int64_t begin = squares[left < 0 ? 0 : left], end = squares[right < t->columns ? right + 1 : t->columns];
            passed[g] += scan(t, &q, bounded + g, wanted + t->dim * g, mask, begin, end, heap, k);
        }
        for (int64_t j = k; j < most; j++) row[j] = -1, distance[j] = INFINITY;
        for (int64_t left = k; left > 0; left--) {
            row[left - 1] = heap[0].row, distance[left - 1] = heap[0].distance;
            replace_farthest(heap, left - 1, heap[left - 1]);
        }
    }
}
