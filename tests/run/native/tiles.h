// The tiles of AMX in plain C++, for machines that have none: included before a kernel, it takes the intrinsics' place.
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>

static thread_local uint32_t emulated[8][16][16];
inline float widened(uint32_t word, int half) {
    uint32_t bits = half ? word & 0xffff0000u : word << 16;
    float x;
    memcpy(&x, &bits, 4);
    return x;
}
inline void tile_product(int to, int a, int b) {
    for (int m = 0; m < 16; m++)
        for (int n = 0; n < 16; n++) {
            float sum;
            memcpy(&sum, &emulated[to][m][n], 4);
            for (int k = 0; k < 16; k++)
                for (int half = 0; half < 2; half++)
                    sum += widened(emulated[a][m][k], half) * widened(emulated[b][k][n], half);
            memcpy(&emulated[to][m][n], &sum, 4);
        }
}
#undef _tile_zero
#undef _tile_loadd
#undef _tile_stored
#undef _tile_dpbf16ps
#define _tile_loadconfig(shape) (void)(shape)
#define _tile_release()
#define _tile_zero(t) memset(emulated[t], 0, sizeof emulated[t])
#define _tile_loadd(t, p, stride) \
    for (int r = 0; r < 16; r++) memcpy(emulated[t][r], (const char*)(p) + r * (stride), 64)
#define _tile_stored(t, p, stride) \
    for (int r = 0; r < 16; r++) memcpy((char*)(p) + r * (stride), emulated[t][r], 64)
#define _tile_dpbf16ps(to, a, b) tile_product(to, a, b)
#define syscall(...) 0
