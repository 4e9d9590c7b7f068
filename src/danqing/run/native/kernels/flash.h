// Attention block by block (FlashAttention, Dao et al. 2022; the softmax in one pass, Milakov and Gimelshein 2018):
//
//     o_i = sum_j exp(s_ij) v_j / sum_j exp(s_ij),    s_ij = scale q_i . k_j + bias_ij
//
// with running maximum and sum in fp32. Keys and values are packed once. Each task is a block of queries of one head; the
// order of every sum depends on the number of keys and the head's size alone, so neither batch nor threads move a bit.
//
// A `Kind` of product.h says in addition: KEYS (of a block, a multiple of a panel), join(rows, d) (words of PAIR rows),
// power(x) = 2^x, pack(words, x) (PAIR vectors of weights to words).
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

template <class Kind> struct Flash {
    typedef typename Kind::Element Element;
    typedef typename Kind::Word Word;
    static constexpr int PAIR = Kind::PAIR, ROWS = Kind::ROWS, COLUMNS = Kind::COLUMNS;
    static constexpr int PANEL = COLUMNS * WIDTH;      // keys that are packed beside each other
    static constexpr int QUERIES = 8 * ROWS, KEYS = Kind::KEYS;  // of a block; KEYS is a multiple of PANEL
    static constexpr int MOST = 256;                   // the largest head
    static constexpr int STEP = PAIR * WIDTH;          // keys are padded to this

    // A row of elements as words, or zeros where there is none; the last word may be half full.
    void copy(Word* to, const Element* row) const {
        to[depth - 1] = 0;
        if (row) memcpy((void*)to, row, a.size * sizeof(Element));
        else memset((void*)to, 0, depth * sizeof(Word));
    }

    const Attention& a;
    int64_t depth = up(a.size, PAIR) / PAIR, width = up(a.size, WIDTH), keys = up(a.keys, STEP);
    int64_t blocks = (a.queries + QUERIES - 1) / QUERIES, panels = (keys + PANEL - 1) / PANEL;
    int64_t k_size = panels * PANEL * depth, v_size = keys / PAIR * width;
    Buffer<Word> k_words{size_t(a.batch * a.heads * k_size)}, v_words{size_t(a.batch * a.heads * v_size)};

    explicit Flash(const Attention& a) : a(a) {}

    void pack_keys(int64_t head, int64_t panel) const {
        auto k = (const Element*)a.k + head / a.heads * a.k_batch + head % a.heads * a.k_head;
        Word* to = k_words.data + head * k_size + panel * PANEL * depth;
        Word words[MOST];
        for (int64_t n = 0; n < PANEL; n++) {
            int64_t key = panel * PANEL + n;
            copy(words, key < a.keys ? k + key * a.k_row : nullptr);
            for (int64_t d = 0; d < depth; d++) to[d * PANEL + n] = words[d];
        }
    }

    void pack_values(int64_t head, int64_t panel) const {
        auto v = (const Element*)a.v + head / a.heads * a.v_batch + head % a.heads * a.v_head;
        int64_t end = least(keys, (panel + 1) * PANEL);
        static const Element nothing[MOST] = {};
        for (int64_t n = panel * PANEL; n < end; n += PAIR) {
            Word* to = v_words.data + head * v_size + n / PAIR * width;
            const Element* rows[PAIR];
            for (int p = 0; p < PAIR; p++) rows[p] = n + p < a.keys ? v + (n + p) * a.v_row : nothing;
            for (int64_t d = 0; d < a.size; d++) to[d] = Kind::join(rows, d);
            for (int64_t d = a.size; d < width; d++) to[d] = 0;
        }
    }

    struct Scratch {
        alignas(64) float scores[ROWS * KEYS];
        alignas(64) Word weights[ROWS * KEYS / PAIR];
        alignas(64) Word q[QUERIES * MOST / PAIR];
        alignas(64) float o[QUERIES * MOST];
        float top[QUERIES], sum[QUERIES], shrink[ROWS];
    };

    // exp2 of ROWS rows of scores, in place of which the weights are written; the maximum, the sum and how much what was
    // summed before shrinks are kept. `bias` is of the first row or null, `real` are the keys of this block that there are.
    void softmax(Scratch& s, int64_t first, int64_t rows, int64_t real, const float* bias) const {
        const int64_t padded = up(real, STEP);
        const Vec scale = set(float(a.scale) * LOG2E), one = set(bias ? 1 : float(a.scale) * LOG2E);
        for (int64_t i = 0; i < ROWS; i++) {
            float* row = s.scores + i * KEYS;
            if (bias) {
                const float* add = bias + (i < rows ? i : 0) * a.bias_row;
                for (int64_t n = 0; n < real; n += WIDTH)
                    store(row + n, fma(load(row + n), scale, load(add + n, least(WIDTH, real - n)) * set(LOG2E)));
            }
            for (int64_t n = real; n < padded; n++) row[n] = -__builtin_inff();
            Vec top = load(row);
            for (int64_t n = WIDTH; n < padded; n += WIDTH) top = largest(top, load(row + n));
            float most = largest_of(top * one), before = s.top[first + i];
            most = most > before ? most : before;
            s.top[first + i] = most;
            s.shrink[i] = lane(exp2(set(before - most)));
            Vec sums[PAIR] = {};
            const Vec minus = set(-most);
            for (int64_t n = 0; n < padded; n += STEP) {
                Vec x[PAIR];
                for (int p = 0; p < PAIR; p++) {
                    x[p] = Kind::power(fma(load(row + n + p * WIDTH), one, minus));
                    sums[p] = sums[p] + x[p];
                }
                Kind::pack(s.weights + (i * KEYS + n) / PAIR, x);
            }
            for (int p = 1; p < PAIR; p++) sums[0] = sums[0] + sums[p];
            s.sum[first + i] = s.sum[first + i] * s.shrink[i] + sum_of(sums[0]);
        }
    }

    void attend(int64_t task) const {
        static thread_local Scratch s;
        int64_t head = task / blocks, b = head / a.heads, h = head % a.heads, start = task % blocks * QUERIES;
        int64_t rows = least(QUERIES, a.queries - start);
        auto q = (const Element*)a.q + b * a.q_batch + h * a.q_head + start * a.q_row;
        auto o = (Element*)a.o + b * a.o_batch + h * a.o_head + start * a.o_row;
        for (int64_t i = 0; i < up(rows, ROWS); i++) {
            copy(s.q + i * depth, i < rows ? q + i * a.q_row : nullptr);
            s.top[i] = LOWEST;
            s.sum[i] = 0;
        }
        memset(s.o, 0, up(rows, ROWS) * width * sizeof(float));
        for (int64_t from = 0; from < keys; from += KEYS) {
            int64_t real = least(KEYS, a.keys - from), padded = up(real, STEP);
            for (int64_t i = 0; i < rows; i += ROWS) {
                for (int64_t n = 0; n < padded; n += PANEL) {
                    const Word* k = k_words.data + head * k_size + (from + n) * depth;
                    columns<COLUMNS>(least(PANEL, padded - n) / WIDTH, [&](auto count) {
                        constexpr int N = decltype(count)::value;
                        Vec sums[ROWS][N] = {};
                        multiply<Kind, N>(s.q + i * depth, depth, k, PANEL, depth, sums);
                        for (int r = 0; r < ROWS; r++)
                            for (int j = 0; j < N; j++) store(s.scores + r * KEYS + n + j * WIDTH, sums[r][j]);
                    });
                }
                const float* bias = a.bias;
                if (bias) bias += b * a.bias_batch + h * a.bias_head + (start + i) * a.bias_row + from;
                softmax(s, i, rows - i, real, bias);
                int64_t vectors = width / WIDTH, chunks = (vectors + COLUMNS - 1) / COLUMNS, done = 0;
                for (int64_t c = 0; c < chunks; c++) {
                    int64_t n = (vectors - done + chunks - c - 1) / (chunks - c);
                    float* to = s.o + i * width + done * WIDTH;
                    const Word* v = v_words.data + head * v_size + from / PAIR * width + done * WIDTH;
                    columns<COLUMNS>(n, [&](auto count) {
                        constexpr int N = decltype(count)::value;
                        Vec sums[ROWS][N];
                        for (int r = 0; r < ROWS; r++)
                            for (int j = 0; j < N; j++) sums[r][j] = load(to + r * width + j * WIDTH) * set(s.shrink[r]);
                        multiply<Kind, N>(s.weights, KEYS / PAIR, v, width, padded / PAIR, sums);
                        for (int r = 0; r < ROWS; r++)
                            for (int j = 0; j < N; j++) store(to + r * width + j * WIDTH, sums[r][j]);
                    });
                    done += n;
                }
            }
        }
        for (int64_t i = 0; i < rows; i++) {
            // A query that may look at no key has weights that are all 0, and so is its answer.
            const Vec over = set(s.sum[i] == 0 ? 0 : 1 / s.sum[i]);
            for (int64_t d = 0; d < width; d += WIDTH)
                store(o + i * a.o_row + d, load(s.o + i * width + d) * over, least(WIDTH, a.size - d));
        }
    }

    int run() const {
        if (!k_words.data || !v_words.data) return 1;
        parallel(a.pool, a.threads, a.batch * a.heads * panels, [&](int64_t i) {
            pack_keys(i / panels, i % panels);
            pack_values(i / panels, i % panels);
        });
        parallel(a.pool, a.threads, a.batch * a.heads * blocks, [&](int64_t i) { attend(i); });
        return 0;
    }
};
