// A linear layer, y = x W^T + bias, summed in fp32, for weights that stay near in the cache: each row's sum is in the
// order of the inputs, so neither the number of rows nor threads move a bit. What is added to it is added once it is rounded,
// as after a layer by itself.
//
// The weight lies as panels (native/linear.py): of each PANEL outputs a matrix (inputs / PAIR, PANEL) of words.
#pragma once
#include "answer.h"
#include "parallel.h"

// As native/linear.py lays it out; bias may be null, and `added` to the answer.
struct Linear {
    const void *x, *panels, *bias, *added;
    void* y;
    int64_t rows, inputs, outputs;
    Pool pool;
    int64_t threads;
};

template <class Kind> int layer(const Linear* a) {
    typedef typename Kind::Element Element;
    typedef typename Kind::Word Word;
    constexpr int PANEL = Kind::COLUMNS * WIDTH, TOGETHER = 8 * Kind::ROWS;  // outputs and rows of a task
    const int64_t words = a->inputs / Kind::PAIR, panels = (a->outputs + PANEL - 1) / PANEL;
    const int64_t groups = (a->rows + TOGETHER - 1) / TOGETHER;
    const Answer<Element> answer{(const Element*)a->bias, (const Element*)a->added, (Element*)a->y, a->outputs};
    parallel(a->pool, a->threads, groups * panels, [&](int64_t i) {
        const int64_t first = i % groups * TOGETHER, last = least(a->rows, first + TOGETHER), o = i / groups * PANEL;
        const int64_t outputs = least(PANEL, a->outputs - o);
        auto panel = (const Word*)a->panels + o * words;
        columns<Kind::COLUMNS>((outputs + WIDTH - 1) / WIDTH, [&](auto vectors) {
            constexpr int N = decltype(vectors)::value;
            for (int64_t r = first; r < last; r += Kind::ROWS)
                columns<Kind::ROWS>(least(Kind::ROWS, last - r), [&](auto rows) {
                    constexpr int R = decltype(rows)::value;
                    Vec sums[R][N] = {};
                    answer.template fetch<R>(r, o, outputs);
                    multiply<Kind, N>((const Word*)a->x + r * words, words, panel, PANEL, words, sums);
                    answer.write(sums, r, o, outputs);
                });
        });
    });
    return 0;
}
