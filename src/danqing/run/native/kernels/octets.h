// What layers in whole numbers are given, and how numbers are rounded to them: u = rint(x / step) + zero, 0 <= u <= most.
// A unit of rows has a step and a zero of its own: a picture for a convolution, a row for a linear layer.
#pragma once
#include "parallel.h"
#include "product.h"

// As native/octets.py lays it out. `x` is (batch, height, width, channels), `weight` packed, `scale`, `sums` and `bias`
// (outputs), `y` (batch, high, wide, outputs).
struct Bytes {
    const void* x;
    const int8_t* weight;
    const float* scale;
    const int32_t* sums;
    const float* bias;
    void* y;
    int64_t batch, height, width, channels, outputs, high, wide, kernel, stride, padding, alone, planes, singles;
    Pool pool;
    int64_t threads;
};

constexpr float LEAST = 0x1p-100f;  // of a step, so that there is one over it

// The step and the zero of n numbers that lie in pieces: all of one unit. NaN if one of them is NaN or infinite.
template <class T> struct Range {
    Vec low = set(0), high = set(0), bad = set(0);
    void see(const T* x, int64_t n) {
        for (int64_t c = 0; c < n; c += WIDTH) {
            Vec v = load(x + c, least(WIDTH, n - c));
            low = smallest(v, low), high = largest(v, high), bad = fma(v, set(0), bad);
        }
    }
    void told(float most, float* step, float* zero) const {
        const float l = -largest_of(set(0) - low), h = largest_of(high);
        const float wide = (h - l) / most;
        *step = (wide > LEAST ? wide : LEAST) + sum_of(bad);
        *zero = lane(rounded(set(-l / *step)));
    }
};
