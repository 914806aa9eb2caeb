/* Runs the compiled part on random records and prints what it finds, every digit of it; the same on every processor. */
#include KERNELS
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { RECORDS = 600, DIM = 6, SIDE = 12, QUERIES = 60, MOST = 9 };

static uint64_t state = 1;
static double uniform(void) { /* Knuth's MMIX generator */
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (double)(state >> 11) / 9007199254740992.0;
}

int main(void) {
    static double x[RECORDS], y[RECORDS], wanted[QUERIES * DIM], distance[QUERIES * MOST];
    static float yaw[RECORDS], latent[RECORDS * DIM];
    static int64_t stamp[RECORDS], id[RECORDS], start[SIDE * SIDE + 1], row[QUERIES * MOST], passed[QUERIES];
    static int32_t session[RECORDS];
    static ask asked[QUERIES];
    static bounds bounded[QUERIES];
    static entry heap[MOST];
    int64_t n = 0;
    for (int64_t square = 0; square < SIDE * SIDE; square++) {
        start[square] = n;
        for (int64_t left = (int64_t)(uniform() * 8); left > 0 && n < RECORDS; left--, n++) {
            x[n] = (double)(square % SIDE) + uniform(), y[n] = (double)(square / SIDE) + uniform();
            yaw[n] = (float)(6.0 * uniform() - 3.0), stamp[n] = n, id[n] = 1 + n, session[n] = (int32_t)(n % 3);
            for (int64_t d = 0; d < DIM; d++) latent[DIM * n + d] = (float)(2.0 * uniform() - 1.0);
        }
    }
    start[SIDE * SIDE] = n;
    for (int64_t q = 0; q < QUERIES; q++) {
        asked[q] = (ask){.x = SIDE * uniform(), .y = SIDE * uniform(), .radius2 = q % 3 ? 4.0 * uniform() : 0.0, .yaw = uniform(),
                         .yaw_weight = 1.0, .pose_weight = q % 2 ? 1.0 : 0.0, .latent_weight = q % 2 ? 0.0 : 1.0,
                         .k = 1 + (double)(q % MOST)};
        bounded[q] = (bounds){.oldest = 0, .newest = q % 5 ? RECORDS : RECORDS / 4, .session = q % 7 ? -1 : 1,
                              .yaw_tolerance = q % 4 ? 0.0 : 1.0};
        for (int64_t d = 0; d < DIM; d++) wanted[DIM * q + d] = 2.0 * uniform() - 1.0;
    }
    const table t = {x, y, yaw, stamp, session, id, latent, DIM, start, 0.0, 0.0, 1.0, SIDE, SIDE};
    wm_table_nearest(&t, QUERIES, asked, bounded, wanted, NULL, heap, row, distance, MOST, passed);
    for (int64_t q = 0; q < QUERIES; q++) {
        printf("%" PRId64 ":", passed[q]);
        for (int64_t j = 0; j < MOST; j++) printf(" %" PRId64 "=%a", row[q * MOST + j], distance[q * MOST + j]);
        printf("\n");
    }

    static int8_t feature[64 * 32];
    static int16_t look_for[32];
    static int64_t slots[64];
    static int32_t product[64], own[64];
    for (int64_t i = 0; i < 64 * 32; i++) feature[i] = (int8_t)(255.0 * uniform() - 127.0);
    for (int64_t i = 0; i < 32; i++) look_for[i] = (int16_t)(255.0 * uniform() - 127.0);
    const int64_t pages[] = {0, 1, 3};
    const uint16_t bits[] = {0xffff, 0x0f0f, 0x8001};
    const look l = {feature, 32, look_for};
    const int64_t size = wm_looks(&l, 3, pages, bits, slots, product, own);
    for (int64_t i = 0; i < size; i++) printf("%" PRId64 " %d %d\n", slots[i], product[i], own[i]);
    return 0;
}
