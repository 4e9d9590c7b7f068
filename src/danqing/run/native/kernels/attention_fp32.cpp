// Attention in fp32 with AVX2 or AVX-512.
#include "flash.h"

struct Singles {
    typedef float Element;
    typedef float Word;
    typedef Vec Words;
    static constexpr int PAIR = 1, ROWS = 6, COLUMNS = WIDTH == 16 ? 4 : 2, KEYS = 256;

    static Words words(const Word* p) { return load(p); }
    static Vec dot(Vec sum, Word a, Words b) { return fma(set(a), b, sum); }
    static Vec power(Vec x) { return exp2(x); }
    static void pack(Word* to, const Vec (&x)[1]) { store(to, x[0]); }
};

EXPORT int attention(const Attention* a) { return Flash<Singles>(*a).run(); }
