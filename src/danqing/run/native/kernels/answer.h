// What products come to, as it is stored: for kernels that multiply by panels of outputs.
#pragma once
#include "product.h"

// The answer of rows of outputs: bias may be null, and `added`, which is added once the answer is rounded, as after a layer
// by itself.
template <class Element> struct Answer {
    const Element *bias, *added;
    Element* y;
    int64_t outputs;

    // Have R rows' outputs from `o` on near before they are written: they are computed meanwhile.
    template <int R> void fetch(int64_t row, int64_t o, int64_t count) const {
        for (int k = 0; k < R; k++)
            for (int64_t c = 0; c < count; c += 64 / int64_t(sizeof(Element))) {
                const int64_t at = (row + k) * outputs + o + c;
                __builtin_prefetch(y + at, 1);
                if (added) __builtin_prefetch(added + at);
            }
    }

    // The sums of R rows and N vectors of outputs, `count` of them, from `o` on.
    template <int R, int N> void write(const Vec (&sums)[R][N], int64_t row, int64_t o, int64_t count) const {
        for (int j = 0; j < N; j++) {
            const int64_t here = least(WIDTH, count - j * WIDTH), at = o + j * WIDTH;
            const Vec first = bias ? load(bias + at, here) : set(0);
            for (int k = 0; k < R; k++) {
                const int64_t place = (row + k) * outputs + at;
                Vec v = sums[k][j] + first;
                if (added) v = once(v, Element()) + load(added + place, here);
                store(y + place, v, here);
            }
        }
    }
};
