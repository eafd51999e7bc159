// llama-infer: one prefill and a number of greedy decode steps on a GGUF model, through libllama's public
// interface, for one sequence or several at once.
//
// The prompt is synthetic (token ids from a fixed generator), so that any model runs, whatever its vocabulary
// holds. Output: on stdout, for each sequence a line, the token id chosen after the prefill and after each decode
// step; on stderr the timings. Equal options on equal machines give equal ids.

#include "ggml-cpu.h"
#include "llama.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <climits>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

namespace {

struct Options {
    std::string model;
    int  n_prompt = 16;
    int  n_decode = 8;
    int  n_sequences = 1;
    int  n_threads = 1;
    int  n_ctx = 0; // of a sequence; 0: as many as the run needs
    int  poll = 50;
    bool mmap = true;
    bool repack = true;
    bool verbose = false;
};

const char USAGE[] =
    "usage: llama-infer -m FILE.gguf [options]\n"
    "  -m FILE       the model\n"
    "  -p N          prompt tokens of a sequence, evaluated in one llama_decode call for all (default 16)\n"
    "  -n N          tokens decoded one at a time, one llama_decode call each for all sequences (default 8)\n"
    "  -s N          sequences, each with a prompt of its own (default 1)\n"
    "  -t N          compute threads (default 1)\n"
    "  --ctx N       context length of a sequence in tokens (default: prompt + decoded tokens)\n"
    "  --no-mmap     read the weights into memory instead of mapping the file\n"
    "  --no-repack   compute on the weights as stored; do not rearrange them for the CPU's SIMD width\n"
    "  --poll N      0..100: how long idle compute threads spin before they sleep (default 50)\n"
    "  --verbose     show what llama.cpp says, debug messages left out\n";

[[noreturn]] void usage_error(const std::string & what) {
    fprintf(stderr, "llama-infer: %s\n%s", what.c_str(), USAGE);
    exit(2);
}

[[noreturn]] void fail(const std::string & what) {
    fprintf(stderr, "llama-infer: %s\n", what.c_str());
    exit(1);
}

int parse_count(const std::string & option, const char * text, long min, long max) {
    char * end = nullptr;
    errno = 0;
    const long value = strtol(text, &end, 10);
    if (end == text || *end != '\0' || errno != 0 || value < min || value > max) {
        usage_error(option + " takes a number from " + std::to_string(min) + " to " + std::to_string(max) +
                    ", not '" + text + "'");
    }
    return static_cast<int>(value);
}

Options parse_options(int argc, char ** argv) {
    Options o;
    for (int i = 1; i < argc; i++) {
        const std::string option = argv[i];
        const auto value = [&]() -> const char * {
            if (++i == argc) {
                usage_error(option + " needs a value");
            }
            return argv[i];
        };
        if (option == "-m") {
            o.model = value();
        } else if (option == "-p") {
            o.n_prompt = parse_count(option, value(), 1, INT_MAX / 4);
        } else if (option == "-n") {
            o.n_decode = parse_count(option, value(), 0, INT_MAX / 4);
        } else if (option == "-s") {
            o.n_sequences = parse_count(option, value(), 1, 64);
        } else if (option == "-t") {
            o.n_threads = parse_count(option, value(), 1, GGML_MAX_N_THREADS);
        } else if (option == "--ctx") {
            o.n_ctx = parse_count(option, value(), 1, INT_MAX / 2);
        } else if (option == "--poll") {
            o.poll = parse_count(option, value(), 0, 100);
        } else if (option == "--no-mmap") {
            o.mmap = false;
        } else if (option == "--no-repack") {
            o.repack = false;
        } else if (option == "--verbose") {
            o.verbose = true;
        } else if (option == "-h" || option == "--help") {
            fputs(USAGE, stdout);
            exit(0);
        } else {
            usage_error("unknown option '" + option + "'");
        }
    }
    if (o.model.empty()) {
        usage_error("-m FILE.gguf is missing");
    }
    const int needed = o.n_prompt + o.n_decode;
    if (o.n_ctx == 0) {
        o.n_ctx = needed;
    } else if (o.n_ctx < needed) {
        usage_error("--ctx " + std::to_string(o.n_ctx) + " is too short: -p and -n need " +
                    std::to_string(needed));
    }
    return o;
}

void log_from(ggml_log_level level, const char * text, void * lowest) {
    static bool shown = false; // GGML_LOG_LEVEL_CONT continues the previous message
    if (level != GGML_LOG_LEVEL_CONT) {
        shown = level >= *static_cast<const ggml_log_level *>(lowest);
    }
    if (shown) {
        fputs(text, stderr);
    }
}

// Token ids spread over the vocabulary, the first three (unknown, begin, end in most vocabularies) left out.
std::vector<llama_token> synthetic_tokens(int n, int n_vocab) {
    const uint32_t first = n_vocab > 3 ? 3 : 0;
    std::vector<llama_token> tokens(n);
    uint32_t state = 1;
    for (llama_token & token : tokens) {
        state = state * 1664525u + 1013904223u; // the LCG of Numerical Recipes
        token = static_cast<llama_token>(first + (state >> 8) % (static_cast<uint32_t>(n_vocab) - first));
    }
    return tokens;
}

// The sequences, which go on together: `n` tokens of each are evaluated in one batch.
class Sequences {
public:
    Sequences(llama_context * ctx, int count, int n_max)
        : ctx_(ctx), count_(count), batch_(llama_batch_init(count * n_max, 0, 1)),
          n_vocab_(llama_vocab_n_tokens(llama_model_get_vocab(llama_get_model(ctx)))) {}
    ~Sequences() { llama_batch_free(batch_); }
    Sequences(const Sequences &) = delete;
    Sequences & operator=(const Sequences &) = delete;

    // Evaluates the tokens, those of the first sequence first, and returns the likeliest next one of each; the lowest
    // id among equals.
    std::vector<llama_token> step(const std::vector<llama_token> & tokens) {
        const int n = static_cast<int>(tokens.size()) / count_;
        batch_.n_tokens = static_cast<int>(tokens.size());
        for (int i = 0; i < batch_.n_tokens; i++) {
            batch_.token[i] = tokens[i];
            batch_.pos[i] = position_ + i % n;
            batch_.n_seq_id[i] = 1;
            batch_.seq_id[i][0] = i / n;
            batch_.logits[i] = i % n == n - 1; // of the last one of each
        }
        const int status = llama_decode(ctx_, batch_);
        if (status != 0) {
            fail("llama_decode failed with status " + std::to_string(status));
        }
        position_ += n;
        std::vector<llama_token> next;
        for (int i = n - 1; i < batch_.n_tokens; i += n) {
            const float * logits = llama_get_logits_ith(ctx_, i);
            next.push_back(static_cast<llama_token>(std::max_element(logits, logits + n_vocab_) - logits));
        }
        return next;
    }

private:
    llama_context * ctx_;
    int count_;
    int position_ = 0; // of all: they are of one length
    llama_batch batch_;
    int n_vocab_;
};

double seconds_since(std::chrono::steady_clock::time_point start) {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

void report(const char * what, int n, double seconds) {
    fprintf(stderr, "%-8s %6d tokens %10.3f s %10.2f tokens/s\n", what, n, seconds, n / seconds);
}

} // namespace

int main(int argc, char ** argv) {
    using clock = std::chrono::steady_clock;
    const Options o = parse_options(argc, argv);
    ggml_log_level lowest = o.verbose ? GGML_LOG_LEVEL_INFO : GGML_LOG_LEVEL_WARN;
    llama_log_set(log_from, &lowest);
    llama_backend_init();

    const auto load_start = clock::now();
    llama_model_params model_params = llama_model_default_params();
    model_params.load_mode = o.mmap ? LLAMA_LOAD_MODE_MMAP : LLAMA_LOAD_MODE_NONE;
    model_params.use_extra_bufts = o.repack;
    const std::unique_ptr<llama_model, decltype(&llama_model_free)> model(
        llama_model_load_from_file(o.model.c_str(), model_params), llama_model_free);
    if (!model) {
        fail("cannot load '" + o.model + "'");
    }

    llama_context_params context_params = llama_context_default_params();
    context_params.n_ctx = o.n_ctx * o.n_sequences;
    context_params.n_seq_max = o.n_sequences;
    context_params.n_batch = o.n_prompt * o.n_sequences;
    context_params.n_threads = o.n_threads;
    context_params.n_threads_batch = o.n_threads;
    // Declared before the context, which must go first: it holds a pointer to the pool.
    ggml_threadpool_params pool_params = ggml_threadpool_params_default(o.n_threads);
    pool_params.poll = o.poll;
    const std::unique_ptr<ggml_threadpool, decltype(&ggml_threadpool_free)> pool(
        ggml_threadpool_new(&pool_params), ggml_threadpool_free);
    const std::unique_ptr<llama_context, decltype(&llama_free)> ctx(
        llama_init_from_model(model.get(), context_params), llama_free);
    if (!pool || !ctx) {
        fail("cannot create a context of " + std::to_string(o.n_ctx) + " tokens");
    }
    llama_attach_threadpool(ctx.get(), pool.get(), pool.get());
    const int n_vocab = llama_vocab_n_tokens(llama_model_get_vocab(model.get()));
    fprintf(stderr, "load            %22.3f s\n", seconds_since(load_start));

    Sequences sequences(ctx.get(), o.n_sequences, o.n_prompt);
    const auto prefill_start = clock::now();
    std::vector<llama_token> tokens = sequences.step(synthetic_tokens(o.n_prompt * o.n_sequences, n_vocab));
    report("prefill", o.n_prompt * o.n_sequences, seconds_since(prefill_start));
    std::vector<std::vector<llama_token>> chosen{tokens};

    const auto decode_start = clock::now();
    for (int i = 0; i < o.n_decode; i++) {
        tokens = sequences.step(tokens);
        chosen.push_back(tokens);
    }
    if (o.n_decode > 0) {
        report("decode", o.n_decode * o.n_sequences, seconds_since(decode_start));
    }
    for (int sequence = 0; sequence < o.n_sequences; sequence++) {
        for (size_t i = 0; i < chosen.size(); i++) {
            printf(i == 0 ? "%d" : " %d", chosen[i][sequence]);
        }
        printf("\n");
    }
    return fflush(stdout) == 0 ? 0 : 1;
}
