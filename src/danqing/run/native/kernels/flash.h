// Attention block by block (FlashAttention, Dao et al. 2022; the softmax in one pass, Milakov and Gimelshein 2018):
//
//     o_i = sum_j exp(s_ij) v_j / sum_j exp(s_ij),    s_ij = scale q_i . k_j + bias_ij
//
// with running maximum and sum in fp32. Keys and values are packed once. Each task is a block of queries of one head; the
// order of every sum depends on the number of keys and the head's size alone, so neither batch nor threads move a bit.
//
// A `Kind` says how numbers are multiplied: Element (in memory), Word (what one lane of a product holds: PAIR elements),
// ROWS x COLUMNS (registers of one product), dot(sum, word, words), power(x) = 2^x, pack(words, x, y) (2 vectors of
// weights to words), and round(pointer, x, n).
#pragma once
#include <type_traits>

#include "parallel.h"
#include "vector.h"

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

inline int64_t up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

template <class Kind> struct Flash {
    typedef typename Kind::Element Element;
    typedef typename Kind::Word Word;
    static constexpr int PAIR = Kind::PAIR, ROWS = Kind::ROWS, COLUMNS = Kind::COLUMNS;
    static constexpr int PANEL = COLUMNS * WIDTH;      // keys that are packed beside each other
    static constexpr int QUERIES = 8 * ROWS, KEYS = Kind::KEYS;  // of a block; KEYS is a multiple of PANEL
    static constexpr int MOST = 256;                   // the largest head
    static constexpr int STEP = PAIR * WIDTH;          // keys are padded to this

    // sums += a (ROWS rows of words, `lda` apart) x b (depth rows of N vectors, `ldb` apart)
    template <int N>
    static inline __attribute__((always_inline)) void multiply(const Word* a, int64_t lda, const Word* b, int64_t ldb,
                                                               int64_t depth, Vec (&sums)[ROWS][N]) {
        for (int64_t d = 0; d < depth; d++) {
            typename Kind::Words w[N];
            for (int j = 0; j < N; j++) w[j] = Kind::words(b + d * ldb + j * WIDTH);
            for (int i = 0; i < ROWS; i++)
                for (int j = 0; j < N; j++) sums[i][j] = Kind::dot(sums[i][j], a[i * lda + d], w[j]);
        }
    }

    template <class F> static inline void columns(int64_t n, const F& f) {
        if (n == 1) f(std::integral_constant<int, 1>());
        if (n == 2) f(std::integral_constant<int, 2>());
        if constexpr (COLUMNS > 2) {
            if (n == 3) f(std::integral_constant<int, 3>());
            if (n == 4) f(std::integral_constant<int, 4>());
        }
    }

    static Word word(const Element* row, int64_t i, int64_t size) {  // elements i PAIR, ... of a row; 0 beyond its end
        Element parts[PAIR] = {};
        for (int p = 0; p < PAIR; p++)
            if (i * PAIR + p < size) parts[p] = row[i * PAIR + p];
        Word w;
        memcpy(&w, parts, sizeof w);
        return w;
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
        for (int64_t n = 0; n < PANEL; n++) {
            int64_t key = panel * PANEL + n;
            const Element* row = k + key * a.k_row;
            if (key >= a.keys)
                for (int64_t d = 0; d < depth; d++) to[d * PANEL + n] = 0;
            else {
                int64_t whole = a.size / PAIR;
                for (int64_t d = 0; d < whole; d++) memcpy(&to[d * PANEL + n], row + d * PAIR, sizeof(Word));
                if (whole < depth) to[whole * PANEL + n] = word(row, whole, a.size);
            }
        }
    }

    void pack_values(int64_t head, int64_t panel) const {
        auto v = (const Element*)a.v + head / a.heads * a.v_batch + head % a.heads * a.v_head;
        int64_t end = (panel + 1) * PANEL < keys ? (panel + 1) * PANEL : keys;
        for (int64_t n = panel * PANEL; n < end; n += PAIR) {
            Word* to = v_words.data + head * v_size + n / PAIR * width;
            for (int p = 0; p < PAIR; p++) {
                Element* lane = (Element*)to + p;
                const Element* row = v + (n + p) * a.v_row;
                int64_t size = n + p < a.keys ? a.size : 0;
                for (int64_t d = 0; d < size; d++) lane[d * PAIR] = row[d];
                for (int64_t d = size; d < width; d++) lane[d * PAIR] = 0;
            }
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
                for (int64_t n = 0; n < real; n += WIDTH) {
                    int rest = real - n < WIDTH ? int(real - n) : WIDTH;
                    store(row + n, fma(load(row + n), scale, load(add + n, rest) * set(LOG2E)));
                }
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
        int64_t rows = a.queries - start < QUERIES ? a.queries - start : QUERIES;
        auto q = (const Element*)a.q + b * a.q_batch + h * a.q_head + start * a.q_row;
        auto o = (Element*)a.o + b * a.o_batch + h * a.o_head + start * a.o_row;
        for (int64_t i = 0; i < up(rows, ROWS); i++) {
            for (int64_t d = 0; d < depth; d++) s.q[i * depth + d] = i < rows ? word(q + i * a.q_row, d, a.size) : 0;
            s.top[i] = LOWEST;
            s.sum[i] = 0;
        }
        memset(s.o, 0, up(rows, ROWS) * width * sizeof(float));
        for (int64_t from = 0; from < keys; from += KEYS) {
            int64_t real = a.keys - from < KEYS ? a.keys - from : KEYS, padded = up(real, STEP);
            for (int64_t i = 0; i < rows; i += ROWS) {
                for (int64_t n = 0; n < padded; n += PANEL) {
                    const Word* k = k_words.data + head * k_size + (from + n) * depth;
                    columns((padded - n < PANEL ? padded - n : PANEL) / WIDTH, [&](auto count) {
                        constexpr int N = decltype(count)::value;
                        Vec sums[ROWS][N] = {};
                        multiply<N>(s.q + i * depth, depth, k, PANEL, depth, sums);
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
                    columns(n, [&](auto count) {
                        constexpr int N = decltype(count)::value;
                        Vec sums[ROWS][N];
                        for (int r = 0; r < ROWS; r++)
                            for (int j = 0; j < N; j++) sums[r][j] = load(to + r * width + j * WIDTH) * set(s.shrink[r]);
                        multiply<N>(s.weights, KEYS / PAIR, v, width, padded / PAIR, sums);
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
                store(o + i * a.o_row + d, load(s.o + i * width + d) * over,
                      a.size - d < WIDTH ? int(a.size - d) : WIDTH);
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
