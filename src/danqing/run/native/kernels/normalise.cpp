// GroupNorm, with or without SiLU after it, of channels-last pictures, and LayerNorm, in bf16 and fp32:
//
//     y = (x - mean) / sqrt(variance + eps) weight + bias,    silu(y) = y / (1 + exp(-y))
//
// Means and variances are exact in two passes over a block that is in the cache; blocks are joined in double precision
// (Chan et al. 1979). The blocks depend on the number of channels alone, so neither batch nor threads move
// a bit.
#include "parallel.h"
#include "product.h"

// As native/normalise.py lays it out. `rows` are pixels of a picture or tokens, `wide` whether x and y are fp32, else
// bf16, and `wide_weights` whether weight and bias are; these may be null.
struct Normalise {
    const void *x, *weight, *bias;
    void* y;
    int64_t batch, rows, channels, groups, wide, wide_weights, silu;
    double eps;
    Pool pool;
    int64_t threads;
};

static Vec silu(Vec y, float) { return y * logistic2(y * set(1.44269504f)); }
static Vec silu(Vec y, bf16) { return y * logistic2_coarse(y * set(1.44269504f)); }

// n numbers as fp32, or `none` of each where none are given.
static void widen(float* to, const void* from, int64_t wide, int64_t n, float none) {
    for (int64_t c = 0; c < n; c += WIDTH) {
        int64_t k = least(WIDTH, n - c);
        store(to + c, !from ? set(none) : wide ? load((const float*)from + c, k) : load((const bf16*)from + c, k));
    }
}

// Of each channel of N vectors, the last one of `n` channels, over `rows` rows: the mean, and the sum of squares of what
// differs from it. The first mean has the rounding of sums that grow far from zero; what it lacks is small, and summed well.
template <int N, class T>
static void moments(const T* x, int64_t rows, int64_t channels, int64_t n, float* mean, float* square) {
    const Vec count = set(float(rows));
    Vec sums[N] = {}, rests[N] = {}, squares[N] = {};
    for (int64_t r = 0; r < rows; r++)
        for (int j = 0; j < N; j++) sums[j] = sums[j] + load(x + r * channels + j * WIDTH, j < N - 1 ? WIDTH : n);
    for (int j = 0; j < N; j++) sums[j] = sums[j] / count;
    for (int64_t r = 0; r < rows; r++)
        for (int j = 0; j < N; j++) {
            Vec d = load(x + r * channels + j * WIDTH, j < N - 1 ? WIDTH : n) - sums[j];
            rests[j] = rests[j] + d;
            squares[j] = fma(d, d, squares[j]);
        }
    for (int j = 0; j < N; j++) {
        Vec rest = rests[j] / count;
        store(mean + j * WIDTH, sums[j] + rest);
        store(square + j * WIDTH, squares[j] - rest * rests[j]);
    }
}

template <class T> static int group_norm(const Normalise& a) {
    const int64_t C = a.channels, wide = up(C, WIDTH), size = C / a.groups;
    const int64_t step = C < 1024 ? 16384 / C : 16, blocks = (a.rows + step - 1) / step;  // about a first-level cache
    Buffer<float> parts(size_t(a.batch * blocks * 2 * wide)), means(size_t(a.batch * wide)),
        scales(size_t(a.batch * wide)), weight(wide), bias(wide);
    if (!parts.data || !means.data || !scales.data || !weight.data || !bias.data) return 1;
    widen(weight.data, a.weight, a.wide_weights, C, 1);
    widen(bias.data, a.bias, a.wide_weights, C, 0);

    parallel(a.pool, a.threads, a.batch * blocks, [&](int64_t i) {
        int64_t from = i % blocks * step, rows = least(step, a.rows - from), c = 0;
        const T* x = (const T*)a.x + (i / blocks * a.rows + from) * C;
        float *mean = parts.data + i * 2 * wide, *square = mean + wide;
        for (; c + 4 * WIDTH <= C; c += 4 * WIDTH) moments<4>(x + c, rows, C, WIDTH, mean + c, square + c);
        for (; c < C; c += WIDTH) moments<1>(x + c, rows, C, least(WIDTH, C - c), mean + c, square + c);
    });
    parallel(a.pool, a.threads, a.batch * a.groups, [&](int64_t i) {
        const int64_t b = i / a.groups, first = i % a.groups * size;
        const float* part = parts.data + b * blocks * 2 * wide + first;
        double mean = 0, square = 0;
        for (int64_t k = 0; k < blocks; k++)
            for (int64_t c = 0; c < size; c++) mean += part[k * 2 * wide + c] * double(least(step, a.rows - k * step));
        mean /= double(size * a.rows);
        for (int64_t k = 0; k < blocks; k++)
            for (int64_t c = 0; c < size; c++) {
                double d = part[k * 2 * wide + c] - mean;
                square += part[(k * 2 + 1) * wide + c] + d * d * double(least(step, a.rows - k * step));
            }
        double over = 1 / __builtin_sqrt(square / double(size * a.rows) + a.eps);
        for (int64_t c = first; c < first + size; c++) {
            means.data[b * wide + c] = float(mean);
            scales.data[b * wide + c] = float(over * weight.data[c]);
        }
    });
    parallel(a.pool, a.threads, a.batch * blocks, [&](int64_t i) {
        int64_t from = i % blocks * step, start = (i / blocks * a.rows + from) * C;
        const float *mean = means.data + i / blocks * wide, *scale = scales.data + i / blocks * wide;
        for (int64_t r = 0; r < least(step, a.rows - from); r++) {
            const int64_t at = start + r * C;
            auto one = [&](int64_t c, int64_t n) {
                Vec v = fma(load((const T*)a.x + at + c, n) - load(mean + c), load(scale + c), load(bias.data + c));
                store((T*)a.y + at + c, a.silu ? silu(v, T()) : v, n);
            };
            int64_t c = 0;
            for (; c + WIDTH <= C; c += WIDTH) one(c, WIDTH);
            if (c < C) one(c, C - c);
        }
    });
    return 0;
}

template <class T> static int layer_norm(const Normalise& a) {
    const int64_t C = a.channels, wide = up(C, WIDTH), step = 16;
    Buffer<float> weight(wide), bias(wide);
    if (!weight.data || !bias.data) return 1;
    widen(weight.data, a.weight, a.wide_weights, C, 1);
    widen(bias.data, a.bias, a.wide_weights, C, 0);
    parallel(a.pool, a.threads, (a.rows + step - 1) / step, [&](int64_t i) {
        for (int64_t r = i * step; r < least(a.rows, (i + 1) * step); r++) {
            const T* x = (const T*)a.x + r * C;
            Vec sums[4] = {}, rests[4] = {}, squares[4] = {};  // in turn: additions need not wait for each other
            int64_t c = 0;
            for (; c + 4 * WIDTH <= C; c += 4 * WIDTH)
                for (int j = 0; j < 4; j++) sums[j] = sums[j] + load(x + c + j * WIDTH);
            for (; c < C; c += WIDTH) sums[0] = sums[0] + load(x + c, least(WIDTH, C - c));
            const Vec near = set(sum_of((sums[0] + sums[1]) + (sums[2] + sums[3])) / float(C));
            for (c = 0; c + 4 * WIDTH <= C; c += 4 * WIDTH)
                for (int j = 0; j < 4; j++) {
                    Vec d = load(x + c + j * WIDTH) - near;
                    rests[j] = rests[j] + d;
                    squares[j] = fma(d, d, squares[j]);
                }
            for (; c < C; c += WIDTH) {
                Vec d = only(load(x + c, least(WIDTH, C - c)) - near, least(WIDTH, C - c));
                rests[0] = rests[0] + d;
                squares[0] = fma(d, d, squares[0]);
            }
            // What the mean lacks is small, and is known well.
            double rest = sum_of((rests[0] + rests[1]) + (rests[2] + rests[3])) / double(C);
            double square = sum_of((squares[0] + squares[1]) + (squares[2] + squares[3])) / double(C) - rest * rest;
            const Vec over = set(float(1 / __builtin_sqrt((square < 0 ? 0 : square) + a.eps))), shift = set(float(rest));
            auto one = [&](int64_t c, int64_t n) {
                Vec v = (load(x + c, n) - near - shift) * over;
                store((T*)a.y + r * C + c, fma(v, load(weight.data + c), load(bias.data + c)), n);
            };
            for (c = 0; c + WIDTH <= C; c += WIDTH) one(c, WIDTH);
            if (c < C) one(c, C - c);
        }
    });
    return 0;
}

EXPORT int group_norm(const Normalise* a) { return a->wide ? group_norm<float>(*a) : group_norm<bf16>(*a); }
EXPORT int layer_norm(const Normalise* a) { return a->wide ? layer_norm<float>(*a) : layer_norm<bf16>(*a); }
