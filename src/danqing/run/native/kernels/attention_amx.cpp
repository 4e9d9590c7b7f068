// Attention in bf16 with AMX: tiles of 16 x 16 sums of 16 pairs; see flash.h for what is computed.
#include <sys/syscall.h>
#include <unistd.h>

#include "attention.h"

struct Pairs {
    typedef uint32_t Word;
    static constexpr int PAIR = 2;
    static Vec power(Vec x) { return exp2_coarse(x); }
    static void pack(Word* to, const Vec (&x)[2]) { _mm512_storeu_si512(to, (__m512i)_mm512_cvtne2ps_pbh(x[1], x[0])); }
};

typedef uint32_t Word;  // two neighbours
constexpr int TILE = 16, WORDS = TILE * TILE;           // words of a tile, of sums too
constexpr int QUERIES = 2 * TILE, KEYS = 256, STEP = 2 * TILE, MOST = 512;
constexpr int TOGETHER = 4;                             // blocks of queries that a block of keys is read for at once

// The first n elements of a row, at most 32, and zeros; what is beyond them is not read.
static inline __m512i part(const bf16* from, int64_t n) {
    return _mm512_maskz_loadu_epi16(n < 32 ? n < 0 ? 0 : (1u << n) - 1 : ~0u, from);
}

// 16 rows of 16 words: rows become columns.
static inline void turn(__m512i (&r)[TILE]) {
    __m512i t[TILE];
    for (int i = 0; i < TILE; i += 2) {
        t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
    }
    for (int i = 0; i < TILE; i += 4)
        for (int j = 0; j < 2; j++) {
            r[i + 2 * j] = _mm512_unpacklo_epi64(t[i + j], t[i + j + 2]);
            r[i + 2 * j + 1] = _mm512_unpackhi_epi64(t[i + j], t[i + j + 2]);
        }
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < TILE; j += 8) {
            t[i + j] = _mm512_shuffle_i32x4(r[i + j], r[i + j + 4], 0x88);
            t[i + j + 4] = _mm512_shuffle_i32x4(r[i + j], r[i + j + 4], 0xdd);
        }
    for (int i = 0; i < 8; i++) {
        r[i] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0x88);
        r[i + 8] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0xdd);
    }
}

struct Tiles {
    struct __attribute__((packed)) Shape {
        uint8_t palette = 1, start = 0, rest[14] = {};
        uint16_t bytes[16] = {};
        uint8_t rows[16] = {};
    };

    const Attention& a;
    int64_t deep = up(a.size, 32) / 32, wide = up(a.size, TILE) / TILE, keys = up(a.keys, STEP);
    int64_t blocks = (a.queries + QUERIES - 1) / QUERIES, steps = keys / STEP;
    // Large heads leave the cache before the next block of queries comes; else as many tasks as there can be.
    int64_t together = a.size > 128 && a.keys > KEYS ? TOGETHER : 1, groups = (blocks + together - 1) / together;
    int64_t k_size = keys / TILE * deep * WORDS, v_size = steps * wide * WORDS;
    Buffer<Word> k_tiles{size_t(a.batch * a.heads * k_size)}, v_tiles{size_t(a.batch * a.heads * v_size)};

    explicit Tiles(const Attention& a) : a(a) {}

    // STEP keys: of 16 keys `deep` tiles of 16 pairs by 16 keys.
    void pack_keys(int64_t head, int64_t step) const {
        auto k = (const bf16*)a.k + head / a.heads * a.k_batch + head % a.heads * a.k_head;
        Word* to = k_tiles.data + head * k_size + step * 2 * deep * WORDS;
        for (int64_t t = 0; t < 2; t++)
            for (int64_t d = 0; d < deep; d++, to += WORDS) {
                __m512i rows[TILE];
                for (int64_t n = 0; n < TILE; n++) {
                    int64_t key = step * STEP + t * TILE + n;
                    rows[n] = part(k + key * a.k_row + d * 32, key < a.keys ? a.size - d * 32 : 0);
                }
                turn(rows);
                for (int64_t n = 0; n < TILE; n++) _mm512_store_si512(to + n * TILE, rows[n]);
            }
    }

    // STEP values: `wide` tiles of 16 pairs of values by 16 numbers of a head.
    void pack_values(int64_t head, int64_t step) const {
        auto v = (const bf16*)a.v + head / a.heads * a.v_batch + head % a.heads * a.v_head;
        Word* to = v_tiles.data + head * v_size + step * wide * WORDS;
        const __m512i sides = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8,
                                               23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
        for (int64_t pair = 0; pair < TILE; pair++) {
            const int64_t key = step * STEP + 2 * pair;
            const bf16* row = v + key * a.v_row;
            for (int64_t d = 0; d < wide; d++) {
                const int64_t left = a.size - d * TILE, here = left < TILE ? left : TILE;
                const __m512i one = part(row + d * TILE, key < a.keys ? here : 0);
                const __m512i other = part(row + a.v_row + d * TILE, key + 1 < a.keys ? here : 0);
                const __m512i both = _mm512_inserti64x4(one, _mm512_castsi512_si256(other), 1);
                _mm512_store_si512(to + d * WORDS + pair * TILE, _mm512_permutexvar_epi16(sides, both));
            }
        }
    }

    struct Scratch {
        alignas(64) float scores[QUERIES * KEYS];
        alignas(64) Word weights[QUERIES * KEYS / 2];
        float shrink[QUERIES];
        struct Block {
            alignas(64) Word q[QUERIES * MOST / 2];
            alignas(64) float o[QUERIES * MOST];
            float top[QUERIES], sum[QUERIES];
        } blocks[TOGETHER];
    };

    // Tiles 0 to 3 are sums, 32 rows by 32 columns; 4 and 5 the rows' factors, 6 and 7 the columns'.
    void score(Scratch& s, const Word* q, const Word* k, int64_t n) const {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
        for (int64_t d = 0; d < deep; d++) {
            _tile_loadd(4, q + d * TILE, deep * 64);
            _tile_loadd(5, q + (TILE * deep + d) * TILE, deep * 64);
            _tile_loadd(6, k + d * WORDS, 64);
            _tile_loadd(7, k + (deep + d) * WORDS, 64);
            _tile_dpbf16ps(0, 4, 6);
            _tile_dpbf16ps(1, 4, 7);
            _tile_dpbf16ps(2, 5, 6);
            _tile_dpbf16ps(3, 5, 7);
        }
        _tile_stored(0, s.scores + n, KEYS * 4);
        _tile_stored(1, s.scores + n + TILE, KEYS * 4);
        _tile_stored(2, s.scores + TILE * KEYS + n, KEYS * 4);
        _tile_stored(3, s.scores + TILE * KEYS + n + TILE, KEYS * 4);
    }

    // Adds the weighted values of `padded` keys to 16 or, if `two`, 32 columns of the answer, or begins them.
    template <bool two>
    void add(const Scratch& s, float* o, const Word* v, int64_t column, int64_t padded, bool begin) const {
        const int64_t stride = wide * 64;
        float *above = o + column * TILE, *below = above + TILE * wide * TILE;
        if (begin) {
            _tile_zero(0);
            _tile_zero(2);
            if (two) _tile_zero(1);
            if (two) _tile_zero(3);
        } else {
            _tile_loadd(0, above, stride);
            _tile_loadd(2, below, stride);
            if (two) _tile_loadd(1, above + TILE, stride);
            if (two) _tile_loadd(3, below + TILE, stride);
        }
        for (int64_t n = 0; n < padded; n += STEP) {
            const Word* tile = v + (n / STEP * wide + column) * WORDS;
            _tile_loadd(4, s.weights + n / 2, KEYS * 2);
            _tile_loadd(5, s.weights + (TILE * KEYS + n) / 2, KEYS * 2);
            _tile_loadd(6, tile, 64);
            _tile_dpbf16ps(0, 4, 6);
            _tile_dpbf16ps(2, 5, 6);
            if (two) _tile_loadd(7, tile + WORDS, 64);
            if (two) _tile_dpbf16ps(1, 4, 7);
            if (two) _tile_dpbf16ps(3, 5, 7);
        }
        _tile_stored(0, above, stride);
        _tile_stored(2, below, stride);
        if (two) _tile_stored(1, above + TILE, stride);
        if (two) _tile_stored(3, below + TILE, stride);
    }

    // A block of queries meets a block of keys.
    void meet(Scratch& s, Scratch::Block& block, int64_t head, int64_t start, int64_t from) const {
        const int64_t real = least(KEYS, a.keys - from), padded = up(real, STEP), width = wide * TILE;
        for (int64_t n = 0; n < padded; n += STEP)
            score(s, block.q, k_tiles.data + head * k_size + (from + n) / TILE * deep * WORDS, n);
        const float* bias = a.bias;
        if (bias) bias += head / a.heads * a.bias_batch + head % a.heads * a.bias_head + start * a.bias_row + from;
        softmax<Pairs>(a, s.scores, s.weights, KEYS, QUERIES, a.queries - start, real, bias, block.top, block.sum,
                       s.shrink);
        for (int64_t i = 0; from && i < QUERIES; i++)
            if (s.shrink[i] != 1)
                for (int64_t d = 0; d < width; d += WIDTH)
                    store(block.o + i * width + d, load(block.o + i * width + d) * set(s.shrink[i]));
        const Word* v = v_tiles.data + head * v_size + from / STEP * wide * WORDS;
        for (int64_t c = 0; c + 1 < wide; c += 2) add<true>(s, block.o, v, c, padded, !from);
        if (wide % 2) add<false>(s, block.o, v, wide - 1, padded, !from);
    }

    void attend(int64_t task) const {
        static thread_local Scratch s;
        Shape shape;
        for (int i = 0; i < 8; i++) shape.bytes[i] = 64, shape.rows[i] = TILE;
        _tile_loadconfig(&shape);
        const int64_t head = task / groups, b = head / a.heads, h = head % a.heads, width = wide * TILE;
        const int64_t first = task % groups * together, count = least(together, blocks - first);
        auto q = (const bf16*)a.q + b * a.q_batch + h * a.q_head;
        auto o = (bf16*)a.o + b * a.o_batch + h * a.o_head;
        for (int64_t j = 0; j < count; j++) {
            auto& block = s.blocks[j];
            for (int64_t i = 0; i < QUERIES; i++) {
                const int64_t row = (first + j) * QUERIES + i;
                for (int64_t d = 0; d < deep; d++)
                    _mm512_store_si512(block.q + (i * deep + d) * TILE,
                                       part(q + row * a.q_row + d * 32, row < a.queries ? a.size - d * 32 : 0));
                block.top[i] = LOWEST;
                block.sum[i] = 0;
            }
        }
        for (int64_t from = 0; from < keys; from += KEYS)
            for (int64_t j = 0; j < count; j++) meet(s, s.blocks[j], head, (first + j) * QUERIES, from);
        for (int64_t j = 0; j < count; j++) {
            const int64_t start = (first + j) * QUERIES;
            for (int64_t i = 0; i < least(QUERIES, a.queries - start); i++)
                divide(o + (start + i) * a.o_row, s.blocks[j].o + i * width, a.size, s.blocks[j].sum[i]);
        }
        _tile_release();
    }

    int run() const {
        if (!k_tiles.data || !v_tiles.data) return 1;
        parallel(a.pool, a.threads, a.batch * a.heads * steps, [&](int64_t i) {
            pack_keys(i / steps, i % steps);
            pack_values(i / steps, i % steps);
        });
        parallel(a.pool, a.threads, a.batch * a.heads * groups, [&](int64_t i) { attend(i); });
        return 0;
    }
};

// Linux lends the tiles to a process that asks (ARCH_REQ_XCOMP_PERM for XTILEDATA): whether it did.
EXPORT int usable() { return syscall(SYS_arch_prctl, 0x1023, 18) == 0; }
EXPORT int attention(const Attention* a) { return Tiles(*a).run(); }
