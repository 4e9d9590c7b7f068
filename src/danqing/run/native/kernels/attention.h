// What the kernels of attention share: their call, and the softmax of a block.
#pragma once
#include "parallel.h"
#include "product.h"

// As native/attention.py lays it out; strides are in elements, those of a head's own numbers and of bias along keys are 1.
struct Attention {
    const void *q, *k, *v;
    void* o;
    const float* bias;
    int64_t batch, heads, queries, keys, size;
    int64_t q_batch, q_head, q_row, k_batch, k_head, k_row, v_batch, v_head, v_row, o_batch, o_head, o_row;
    int64_t bias_batch, bias_head, bias_row;
    double scale;
    Pool pool;
    int64_t threads;
};

constexpr float LOG2E = 1.44269504f, LOWEST = -3e38f;

// The softmax of a block of scores, row by row (in one pass over the blocks: Milakov & Gimelshein 2018): of `count` rows,
// `stride` numbers apart, of `real` keys, makes weights exp(score - top) as words, and keeps each row's greatest score
// `top`, the sum of its weights, and by how much what was summed before `shrink`s. `bias` is of the first row or null; only
// `there` rows have one. The scores are written over, and filled up to whole steps of PAIR vectors.
//
// `Kind` says: Word, PAIR (elements of a word), power(x) = 2^x, pack(words, x) (PAIR vectors of weights to words).
template <class Kind>
inline void softmax(const Attention& a, float* scores, typename Kind::Word* weights, int64_t stride, int64_t count,
                    int64_t there, int64_t real, const float* bias, float* top, float* sum, float* shrink) {
    constexpr int PAIR = Kind::PAIR, STEP = PAIR * WIDTH;
    const int64_t padded = up(real, STEP);
    const Vec scale = set(float(a.scale) * LOG2E), one = set(bias ? 1 : float(a.scale) * LOG2E);
    for (int64_t i = 0; i < count; i++) {
        float* row = scores + i * stride;
        if (bias) {
            const float* add = bias + (i < there ? i : 0) * a.bias_row;
            for (int64_t n = 0; n < real; n += WIDTH)
                store(row + n, fma(load(row + n), scale, load(add + n, least(WIDTH, real - n)) * set(LOG2E)));
        }
        for (int64_t n = real; n < padded; n++) row[n] = -__builtin_inff();
        Vec tops = load(row);
        for (int64_t n = WIDTH; n < padded; n += WIDTH) tops = largest(tops, load(row + n));
        const float most = largest_of(tops * one), before = top[i];
        top[i] = most > before ? most : before;
        shrink[i] = before - top[i];
    }
    for (int64_t i = 0; i < count; i += WIDTH) {  // apart from each row's own work, which need not wait for it
        const int64_t n = least(WIDTH, count - i);
        store(shrink + i, exp2(load(shrink + i, n)), n);
    }
    for (int64_t i = 0; i < count; i++) {
        const float* row = scores + i * stride;
        const Vec minus = set(-top[i]);
        Vec sums[PAIR] = {};
        for (int64_t n = 0; n < padded; n += STEP) {
            Vec x[PAIR];
            for (int p = 0; p < PAIR; p++) {
                x[p] = Kind::power(fma(load(row + n + p * WIDTH), one, minus));
                sums[p] = sums[p] + x[p];
            }
            Kind::pack(weights + (i * stride + n) / PAIR, x);
        }
        for (int p = 1; p < PAIR; p++) sums[0] = sums[0] + sums[p];
        sum[i] = sum[i] * shrink[i] + sum_of(sums[0]);
    }
}

// A row of the answer: what was summed over the sum of the weights. A query that may look at no key has weights that are
// all 0, and so is its answer.
template <class Element> inline void divide(Element* to, const float* from, int64_t size, float sum) {
    const Vec over = set(sum == 0 ? 0 : 1 / sum);
    for (int64_t d = 0; d < size; d += WIDTH) store(to + d, load(from + d) * over, least(WIDTH, size - d));
}
