// Made by `RECORD_EMBEDDED=1 swift test --filter EmbeddedKitTests` from the files it names: do not edit.
// swift-format-ignore-file

extension EmbeddedKit {
  /// Sources/CRewardABI/include/attune_reward.h
  static let file0 = ##"""
/*
 * attune_reward.h: everything that a reward plugin needs, in C or in any language that can speak C.
 *
 * A plugin is a shared library that exports one function, attune_reward_entry, which returns a static description of
 * the rewards inside. The shortest one:
 *
 *     #include "attune_reward.h"
 *
 *     ATTUNE_REWARD(brief, "1 for an empty completion, less for every byte") {
 *       return 1.0 / (1.0 + (double)sample->completion.size);
 *     }
 *
 * EVERYTHING THAT THE HOST PASSES IN IS BORROWED, READ-ONLY AND VALID UNTIL THE FUNCTION RETURNS. The plugin frees
 * nothing: what it returns and what varies in length lives in static memory or comes from host->allocate.
 *
 *  - Scores are f64. NaN says "this reward has no opinion on this sample"; infinity is an error of the plugin.
 *  - Strings are UTF-8, sized, and also NUL-terminated: data[size] == 0. An absent string has data == NULL.
 *  - Structs begin with struct_size, what their writer filled, and only ever grow at the end: read a field that was
 *    added after version 1.0 only if ATTUNE_HAS(object, field). Arrays of structs that grow are arrays of pointers.
 *    The small structs attune_string, attune_value, attune_component, attune_note, attune_step_reward and attune_error
 *    never grow.
 *  - Another major version is refused by the host, another minor version is not.
 *  - Thread rules: [scan] may be called at any time and does no work; [instance] is never called twice at once for one
 *    instance unless the reward says ATTUNE_CONCURRENT, and may block. Nothing may unwind or jump across this border.
 */
#ifndef ATTUNE_REWARD_H
#define ATTUNE_REWARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define ATTUNE_MAGIC 0x52545441u /* the bytes "ATTR" */
#define ATTUNE_ABI_MAJOR 1u
#define ATTUNE_ABI_MINOR 0u

/* True if the writer of *object knew the field. */
#define ATTUNE_HAS(object, field)                                                                                      \
  ((object)->struct_size >= (size_t)((const char *)&(object)->field - (const char *)(object)) + sizeof(object)->field)

/* ---- Small values ------------------------------------------------------------------------------------------------ */

/* What became of a sample, and what functions return. */
typedef int32_t attune_status;
#define ATTUNE_OK 0
#define ATTUNE_NOT_APPLICABLE 1 /* no opinion; the same as a NaN score */
#define ATTUNE_FAILED 2         /* the reward could not do its work; say why */
#define ATTUNE_TIMED_OUT 3      /* the reward stopped itself because of the time limit */
#define ATTUNE_INVALID 4        /* the input cannot be scored (a missing column, a malformed reference) */

typedef struct attune_string {
  const char *data; /* UTF-8, data[size] == 0; NULL if absent */
  size_t size;      /* bytes, without the NUL */
} attune_string;

/* Types of a value and of a parameter. */
#define ATTUNE_ABSENT 0
#define ATTUNE_NULL 1
#define ATTUNE_BOOL 2
#define ATTUNE_NUMBER 3
#define ATTUNE_STRING 4
#define ATTUNE_LIST 5
#define ATTUNE_OBJECT 6

/* A column of the data set, a parameter, or a part of one. */
typedef struct attune_value {
  int32_t type;
  uint32_t reserved;
  double number;      /* a number; a boolean as 0 or 1; of a list or an object how many it holds; otherwise NaN */
  attune_string text; /* a string's characters; any other value as JSON text */
} attune_value;

/* A named part of a score: shown and logged; trained on only if the recipe gives it a weight. */
typedef struct attune_component {
  attune_string name;
  double value;
} attune_component;

/* A named text beside a score, such as what was extracted: shown and logged. */
typedef struct attune_note {
  attune_string name, text;
} attune_note;

/* A reward for a range of the completion's tokens: a step of a solution, or (with one token) a sparse token reward. */
typedef struct attune_step_reward {
  uint32_t first_token, end_token; /* half-open */
  double value;
  attune_string label; /* may be absent */
} attune_step_reward;

/* The caller's buffer for a message; write at most capacity bytes, NUL included. */
typedef struct attune_error {
  char *message;
  size_t capacity;
} attune_error;

/* ---- What goes in ------------------------------------------------------------------------------------------------ */

#define ATTUNE_IMAGE 0
#define ATTUNE_VIDEO_FRAME 1

typedef struct attune_image {
  uint32_t struct_size;
  int32_t kind;                          /* ATTUNE_IMAGE or ATTUNE_VIDEO_FRAME */
  uint32_t ordinal;                      /* from 0 in the prompt */
  int32_t message_index;                 /* the message that shows it, -1 if unknown */
  uint32_t width, height, row_stride;    /* pixels, pixels, bytes */
  uint32_t model_width, model_height;    /* after the model's own resize, 0 if unknown */
  uint32_t reserved;
  double scale_x, scale_y;               /* picture = scale * what the model writes as a coordinate; NaN if unknown */
  double coordinate_range;               /* 1000: the model writes 0 ... 1000 for the whole side; 0: its own pixels */
  const uint8_t *pixels;                 /* 8-bit RGB from the top; shared by the completions of a group */
  attune_string encoded;                 /* the file's own bytes, absent unless ATTUNE_NEEDS_IMAGE_BYTES */
  attune_string mime_type;               /* of encoded */
  double timestamp;                      /* of a video frame in seconds, otherwise NaN */
} attune_image;

/* Who wrote a message, or a stretch of a completion of several turns. */
#define ATTUNE_ORIGIN_POLICY 0
#define ATTUNE_ORIGIN_TOOL 1
#define ATTUNE_ORIGIN_ENVIRONMENT 2
#define ATTUNE_ORIGIN_TEMPLATE 3
#define ATTUNE_ORIGIN_DATA 4 /* it stands in the data set */

/* One message of the prompt or of a completion of several turns. */
typedef struct attune_message {
  uint32_t struct_size;
  int32_t origin;
  attune_string role;       /* "system", "user", "assistant", "tool", ... */
  attune_string name;       /* of the speaker or the tool, or absent */
  attune_string text;       /* the text parts of the content, joined */
  attune_string tool_calls; /* JSON list, or absent */
  attune_string json;       /* the whole message */
} attune_message;

typedef struct attune_turn {
  uint32_t struct_size;
  int32_t origin;
  uint32_t first_token, end_token; /* half-open, in the completion's tokens */
  double reward;                   /* given by the environment, NaN if none */
} attune_turn;

/* Why a completion ended. */
#define ATTUNE_FINISH_STOP 0
#define ATTUNE_FINISH_LENGTH 1
#define ATTUNE_FINISH_STOP_STRING 2
#define ATTUNE_FINISH_TOOL_CALL 3
#define ATTUNE_FINISH_ABORTED 4
#define ATTUNE_FINISH_ERROR 5

/* One completion, its prompt, and what is known about both. */
typedef struct attune_sample {
  uint32_t struct_size;
  int32_t finish_reason;               /* ATTUNE_FINISH_... */
  uint64_t sample_id;                  /* unique in the run */
  uint64_t group_id;                   /* completions of one prompt share it */
  uint32_t index_in_group, group_size; /* 0 ..< group_size */
  uint32_t truncated;                  /* 1 if the token limit cut the completion off */
  uint32_t reserved;
  uint64_t seed; /* of this sample's randomness, see host->random */

  attune_string prompt;            /* exactly what the tokenizer saw */
  attune_string generation_prefix; /* what the template opened the completion with, such as "<think>" */
  attune_string completion;        /* what the policy wrote, special tokens removed */
  attune_string completion_raw;    /* special tokens kept, and what tools and the environment answered */
  attune_string stop_string;       /* the one that ended the completion, or absent */
  attune_string reference;         /* the true answer, or absent */
  attune_string columns;           /* the row of the data set: one JSON object */
  attune_string dataset, row_id, channel;

  size_t message_count; /* of the prompt; 0 if it is plain text */
  const attune_message *const *messages;
  size_t completion_message_count; /* 0 unless there were several turns */
  const attune_message *const *completion_messages;
  size_t reference_count; /* answers that are right: several if the data set lists them; the first is reference */
  const attune_string *references;

  size_t token_count;            /* of the completion; all arrays below are this long or NULL */
  const int32_t *token_ids;
  const uint32_t *token_offsets; /* byte in completion_raw at which each token begins */
  const uint8_t *policy_mask;    /* 1 where the policy wrote the token; NULL: everywhere */
  const float *logprobs;         /* natural log, of the sampler */
  const float *entropies;        /* nats */

  size_t turn_count;
  const attune_turn *const *turns;
  size_t image_count; /* 0 unless the reward asks for pictures */
  const attune_image *const *images;
} attune_sample;

#define ATTUNE_PHASE_TRAIN 0
#define ATTUNE_PHASE_EVAL 1
#define ATTUNE_PHASE_REPLAY 2
#define ATTUNE_PHASE_TEST 3

/* The samples of one call, and where the run stands. */
typedef struct attune_batch {
  uint32_t struct_size;
  int32_t phase; /* ATTUNE_PHASE_... */
  uint64_t step, total_steps; /* total_steps is 0 if unknown */
  double epoch;
  uint64_t policy_version;
  uint64_t seed;
  uint64_t time_limit_ms;      /* per sample; 0: none */
  uint64_t call_time_limit_ms; /* of this whole call; 0: none */
  attune_string recipe, run_id;
  size_t sample_count;
  const attune_sample *const *samples;
} attune_batch;

/* ---- What comes out ---------------------------------------------------------------------------------------------- */

/* The host's memory, one per sample, filled in by the plugin. */
typedef struct attune_outcome {
  uint32_t struct_size; /* the host's; leave it */
  attune_status status; /* ATTUNE_OK before the call */
  double score;         /* NaN before the call */
  attune_string log;    /* one line for people: what was extracted, which rule matched, why it failed */
  size_t component_count;
  const attune_component *components;
  size_t note_count;
  const attune_note *notes;
  size_t token_reward_count; /* 0 or the sample's token_count; 0 outside the policy's own tokens */
  const float *token_rewards;
  size_t step_reward_count;
  const attune_step_reward *step_rewards;
} attune_outcome;

/* ---- What the host offers ---------------------------------------------------------------------------------------- */

#define ATTUNE_LOG_DEBUG 0
#define ATTUNE_LOG_INFO 1
#define ATTUNE_LOG_WARNING 2
#define ATTUNE_LOG_ERROR 3

/* A question to a model that the host runs or reaches, within its limits of concurrency and rate. */
typedef struct attune_judge_request {
  uint32_t struct_size;
  uint32_t max_tokens;        /* 0: the judge's own */
  double temperature;         /* NaN: the judge's own */
  attune_string judge;        /* its name in the recipe; absent: the only one */
  attune_string system;       /* a system message, or absent */
  attune_string prompt;       /* the user's message */
  attune_string messages;     /* JSON list of messages, in place of system and prompt, or absent */
  attune_string continuation; /* if present nothing is sampled: the reply holds this text's log-probability */
} attune_judge_request;

/* Filled in by the host; texts live as long as allocate's memory. Set struct_size before the call. */
typedef struct attune_judge_reply {
  uint32_t struct_size;
  uint32_t reserved;
  attune_string text;    /* the answer */
  attune_string message; /* why there is none, or absent */
  uint64_t prompt_tokens, completion_tokens;
  double logprob; /* the sum over the continuation's tokens in nats; otherwise NaN */
} attune_judge_reply;

/* The host's services to one instance. Call them only from within the functions of attune_reward. */
typedef struct attune_host attune_host;
struct attune_host {
  uint32_t struct_size;
  uint32_t reserved;
  void *host_data; /* the host's */
  const char *name, *version;      /* "attune" and its version */

  /* Memory for results, aligned to 16 bytes, cleared; the host takes it back after it has read the outcomes. */
  void *(*allocate)(const attune_host *host, size_t size);

  /* Mark the sample that is being scored: the time limit counts from begin, and a crash or a hang costs only what was
     begun and not ended. Without marks the host scores the samples one by one to find the culprit. */
  void (*begin)(const attune_host *host, size_t index);
  void (*end)(const attune_host *host, size_t index);
  bool (*cancelled)(const attune_host *host); /* the time limit is over: stop, and return ATTUNE_TIMED_OUT */
  uint64_t (*now_ms)(const attune_host *host); /* monotonic */

  /* The counter-th random word of a sample: the same in every run of the same recipe. */
  uint64_t (*random)(const attune_host *host, const attune_sample *sample, uint64_t counter);

  /* A column of the sample's row, or a parameter of this instance (defaults filled in): ATTUNE_OK, or
     ATTUNE_NOT_APPLICABLE and an absent value. */
  attune_status (*column)(
      const attune_host *host, const attune_sample *sample, const char *name, attune_value *value);
  attune_status (*parameter)(const attune_host *host, const char *name, attune_value *value);
  /* A part of a JSON text by its path, such as "[2]" or "answers[0].text"; "" is the whole. Answers as column does, and
     ATTUNE_INVALID if the text is no JSON. */
  attune_status (*json)(const attune_host *host, attune_string text, const char *path, attune_value *value);

  void (*log)(const attune_host *host, int32_t level, attune_string text); /* about the plugin, not about a sample */
  void (*metric)(const attune_host *host, const char *name, double value); /* a number for the step's plots */

  /* A host may lack what follows, or answer ATTUNE_NOT_APPLICABLE: use the helpers below, or ATTUNE_HAS. */
  attune_status (*decode_tokens)( /* the policy's tokenizer; the text lives as long as allocate's memory */
      const attune_host *host, const int32_t *ids, size_t count, attune_string *text);
  attune_status (*encode_text)(
      const attune_host *host, attune_string text, const int32_t **ids, size_t *count);
  attune_status (*judge)( /* ATTUNE_OK, ATTUNE_NOT_APPLICABLE (no such judge), ATTUNE_FAILED, ATTUNE_TIMED_OUT */
      const attune_host *host, const attune_judge_request *request, attune_judge_reply *reply);
  const void *(*get_extension)(const attune_host *host, const char *id); /* services that come later */
};

/* ---- What the plugin offers -------------------------------------------------------------------------------------- */

/* A parameter of a reward. The host checks names, types and bounds, and fills in defaults, before create. */
typedef struct attune_parameter {
  uint32_t struct_size;
  int32_t type; /* ATTUNE_BOOL ... ATTUNE_OBJECT */
  const char *name;
  const char *default_json; /* NULL: must be given */
  const char *summary;
  double minimum, maximum; /* of a number; both 0: any */
} attune_parameter;

/* Promises (flags). The default is the cautious reading. */
#define ATTUNE_DETERMINISTIC (1u << 0) /* equal samples get equal outcomes */
#define ATTUNE_CONCURRENT (1u << 1)    /* several threads may call score of one instance at once */

/* What a reward wants to see (needs). */
#define ATTUNE_NEEDS_GROUP (1u << 0)       /* the whole group in one call; it is never scored in parts */
#define ATTUNE_NEEDS_TOKENS (1u << 1)      /* token_ids */
#define ATTUNE_NEEDS_LOGPROBS (1u << 2)    /* logprobs */
#define ATTUNE_NEEDS_IMAGES (1u << 3)      /* decoded pictures */
#define ATTUNE_NEEDS_IMAGE_BYTES (1u << 4) /* the pictures' files */
#define ATTUNE_NEEDS_TURNS (1u << 5)       /* turns and completion_messages */

/* What a reward fills in beside scores (produces): for display only. */
#define ATTUNE_PRODUCES_COMPONENTS (1u << 0)
#define ATTUNE_PRODUCES_LOG (1u << 1)
#define ATTUNE_PRODUCES_TOKEN_REWARDS (1u << 2)
#define ATTUNE_PRODUCES_STEP_REWARDS (1u << 3)
#define ATTUNE_PRODUCES_NOTES (1u << 4)

typedef struct attune_reward attune_reward;
struct attune_reward {
  uint32_t struct_size;
  uint32_t flags;
  uint32_t needs;
  uint32_t produces;
  void *reward_data; /* the plugin's, never read by the host */
  const char *name;                  /* snake_case, unique in the library */
  const char *summary;               /* one line */
  double minimum, maximum;           /* the expected range of scores; both 0: unknown */
  const attune_parameter *const *parameters; /* ends with NULL; NULL: anything goes */
  const char *const *columns;                /* required ones; ends with NULL */

  /* [instance] NULL: no state. Several instances with different parameters live side by side. */
  attune_status (*create)(
      const attune_reward *self, const attune_host *host, attune_string parameters, void **instance,
      attune_error *error);
  /* [instance] Fills outcomes[0 ..< batch->sample_count]. Anything but ATTUNE_OK says that the call as a whole failed;
     a single sample fails through its outcome. */
  attune_status (*score)(
      void *instance, const attune_host *host, const attune_batch *batch,
      attune_outcome *const *outcomes, attune_error *error);
  void (*destroy)(void *instance); /* [instance] */

  /* [instance] Bytes that a checkpoint keeps; NULL: nothing worth keeping. */
  attune_status (*save_state)(
      void *instance, const attune_host *host, attune_string *state, attune_error *error);
  attune_status (*load_state)(
      void *instance, const attune_host *host, attune_string state, attune_error *error);
  const void *(*get_extension)(const attune_reward *self, const char *id);
};

typedef struct attune_library {
  uint32_t struct_size;
  uint32_t magic; /* ATTUNE_MAGIC */
  uint32_t abi_major, abi_minor;
  const char *name;
  const char *version; /* the library's own */
  size_t reward_count;
  const attune_reward *const *rewards;
} attune_library;

/* The one exported symbol. [scan] */
typedef const attune_library *(*attune_reward_entry_function)(void);
#define ATTUNE_ENTRY_SYMBOL "attune_reward_entry"

/* ---- Helpers for C: nothing below is part of the binary interface ------------------------------------------------ */

#if defined(__GNUC__)
#define ATTUNE_EXPORT __attribute__((visibility("default")))
#define ATTUNE_UNUSED __attribute__((unused))
#else
#define ATTUNE_EXPORT
#define ATTUNE_UNUSED
#endif

/* What the body of ATTUNE_REWARD gets as `call`, for the functions below. */
typedef struct attune_call {
  const attune_host *host;
  const attune_batch *batch;
  const attune_sample *sample;
  attune_outcome *outcome;
  size_t index;
} attune_call;

/* The score that says "no opinion". */
static inline double attune_none(void) {
  const double zero = 0.0;
  return zero / zero;
}

/* A C string as an attune_string. */
static inline attune_string attune_text(const char *characters) {
  attune_string text = {characters, 0};
  if (characters)
    while (characters[text.size]) text.size++;
  return text;
}

static inline bool attune_equal(attune_string a, attune_string b) {
  if (a.size != b.size) return false;
  for (size_t i = 0; i < a.size; i++)
    if (a.data[i] != b.data[i]) return false;
  return true;
}

/* A column of the data set; the fallback if it is absent or of another type. */
static inline attune_value attune_column(const attune_call *call, const char *name) {
  attune_value value = {ATTUNE_ABSENT, 0, attune_none(), {NULL, 0}};
  call->host->column(call->host, call->sample, name, &value);
  return value;
}
static inline double attune_column_double(const attune_call *call, const char *name, double fallback) {
  const attune_value value = attune_column(call, name);
  return value.type == ATTUNE_NUMBER ? value.number : fallback;
}
static inline bool attune_column_bool(const attune_call *call, const char *name, bool fallback) {
  const attune_value value = attune_column(call, name);
  return value.type == ATTUNE_BOOL ? value.number != 0 : fallback;
}
/* A string's characters (absent if the column is no string). */
static inline attune_string attune_column_string(const attune_call *call, const char *name) {
  const attune_value value = attune_column(call, name);
  const attune_string absent = {NULL, 0};
  return value.type == ATTUNE_STRING ? value.text : absent;
}
/* Any value as text: a string's characters, a number or a list as JSON; absent if there is no such column. */
static inline attune_string attune_column_json(const attune_call *call, const char *name) {
  return attune_column(call, name).text;
}

/* A part of a JSON text, such as attune_json(call, attune_column_json(call, "boxes"), "[0].label"). */
static inline attune_value attune_json(const attune_call *call, attune_string text, const char *path) {
  attune_value value = {ATTUNE_ABSENT, 0, attune_none(), {NULL, 0}};
  call->host->json(call->host, text, path, &value);
  return value;
}

/* A parameter of this instance. */
static inline attune_value attune_parameter_value(const attune_call *call, const char *name) {
  attune_value value = {ATTUNE_ABSENT, 0, attune_none(), {NULL, 0}};
  call->host->parameter(call->host, name, &value);
  return value;
}
static inline double attune_parameter_double(const attune_call *call, const char *name, double fallback) {
  const attune_value value = attune_parameter_value(call, name);
  return value.type == ATTUNE_NUMBER ? value.number : fallback;
}
static inline bool attune_parameter_bool(const attune_call *call, const char *name, bool fallback) {
  const attune_value value = attune_parameter_value(call, name);
  return value.type == ATTUNE_BOOL ? value.number != 0 : fallback;
}
static inline attune_string attune_parameter_string(const attune_call *call, const char *name) {
  const attune_value value = attune_parameter_value(call, name);
  const attune_string absent = {NULL, 0};
  return value.type == ATTUNE_STRING ? value.text : absent;
}

/* Appends to the sample's log line. */
static inline void attune_log_string(const attune_call *call, attune_string piece) {
  const attune_string old = call->outcome->log;
  char *text = (char *)call->host->allocate(call->host, old.size + piece.size + 1);
  if (!text) return;
  for (size_t i = 0; i < old.size; i++) text[i] = old.data[i];
  for (size_t i = 0; i < piece.size; i++) text[old.size + i] = piece.data[i];
  call->outcome->log.data = text;
  call->outcome->log.size = old.size + piece.size;
}
static inline void attune_log(const attune_call *call, const char *piece) {
  attune_log_string(call, attune_text(piece));
}

/* Adds a named component; `name` must be a literal. */
static inline void attune_component_add(const attune_call *call, const char *name, double value) {
  attune_outcome *outcome = call->outcome;
  const size_t count = outcome->component_count;
  attune_component *grown =
      (attune_component *)call->host->allocate(call->host, (count + 1) * sizeof(attune_component));
  if (!grown) return;
  for (size_t i = 0; i < count; i++) grown[i] = outcome->components[i];
  grown[count].name = attune_text(name);
  grown[count].value = value;
  outcome->components = grown;
  outcome->component_count = count + 1;
}

/* Adds a named text; `name` must be a literal, `text` lives as long as the sample or is static or allocated. */
static inline void attune_note_add(const attune_call *call, const char *name, attune_string text) {
  attune_outcome *outcome = call->outcome;
  const size_t count = outcome->note_count;
  attune_note *grown = (attune_note *)call->host->allocate(call->host, (count + 1) * sizeof(attune_note));
  if (!grown) return;
  for (size_t i = 0; i < count; i++) grown[i] = outcome->notes[i];
  grown[count].name = attune_text(name);
  grown[count].text = text;
  outcome->notes = grown;
  outcome->note_count = count + 1;
}

/* `return attune_fail(call, "why");`: this sample has no score because something went wrong. */
static inline double attune_fail(const attune_call *call, const char *why) {
  call->outcome->status = ATTUNE_FAILED;
  attune_log(call, why);
  return attune_none();
}
/* `return attune_invalid(call, "why");`: the data of this sample cannot be scored. */
static inline double attune_invalid(const attune_call *call, const char *why) {
  call->outcome->status = ATTUNE_INVALID;
  attune_log(call, why);
  return attune_none();
}

/* Text of token ids by the policy's tokenizer; absent if the host has none. */
static inline attune_string attune_decode(const attune_call *call, const int32_t *ids, size_t count) {
  attune_string text = {NULL, 0};
  if (ATTUNE_HAS(call->host, decode_tokens)) call->host->decode_tokens(call->host, ids, count, &text);
  return text;
}

/* The answer of a judge to a user's message; absent if there is none, and then `why` says why. */
static inline attune_string attune_ask_judge(const attune_call *call, attune_string prompt, attune_string *why) {
  attune_judge_request request = {sizeof(attune_judge_request), 0, attune_none(), {NULL, 0}, {NULL, 0}, {NULL, 0},
                                  {NULL, 0}, {NULL, 0}};
  attune_judge_reply reply = {sizeof(attune_judge_reply), 0, {NULL, 0}, {NULL, 0}, 0, 0, 0};
  request.prompt = prompt;
  const bool known = ATTUNE_HAS(call->host, judge);
  if (known) call->host->judge(call->host, &request, &reply);
  if (why) *why = known ? reply.message : attune_text("this host has no judges");
  return reply.text;
}

typedef double (*attune_score_function)(const attune_call *call, const attune_sample *sample);

/* Scores a batch sample by sample and marks the progress. */
static inline attune_status attune_score_each(
    attune_score_function function, const attune_host *host, const attune_batch *batch,
    attune_outcome *const *outcomes) {
  for (size_t i = 0; i < batch->sample_count; i++) {
    attune_call call;
    call.host = host;
    call.batch = batch;
    call.sample = batch->samples[i];
    call.outcome = outcomes[i];
    call.index = i;
    host->begin(host, i);
    outcomes[i]->score = function(&call, call.sample);
    host->end(host, i);
  }
  return ATTUNE_OK;
}

/* A parameter: static const attune_parameter tolerance = ATTUNE_PARAMETER_NUMBER("tolerance", "0.05", "...", 0, 1); */
#define ATTUNE_PARAMETER_NUMBER(NAME, DEFAULT, SUMMARY, MINIMUM, MAXIMUM)                                              \
  { sizeof(attune_parameter), ATTUNE_NUMBER, NAME, DEFAULT, SUMMARY, MINIMUM, MAXIMUM }
#define ATTUNE_PARAMETER_BOOL(NAME, DEFAULT, SUMMARY)                                                                  \
  { sizeof(attune_parameter), ATTUNE_BOOL, NAME, DEFAULT, SUMMARY, 0, 0 }
#define ATTUNE_PARAMETER_STRING(NAME, DEFAULT, SUMMARY)                                                                \
  { sizeof(attune_parameter), ATTUNE_STRING, NAME, DEFAULT, SUMMARY, 0, 0 }

/* Everything that stands around a reward's body: use the macros below. */
#define ATTUNE_REWARD_DECLARE(NAME, SUMMARY, NEEDS, ...)                                                               \
  static double NAME##_body(const attune_call *call, const attune_sample *sample);                                     \
  static attune_status NAME##_score(                                                                                   \
      void *instance, const attune_host *host, const attune_batch *batch,                                              \
      attune_outcome *const *outcomes, attune_error *error) {                                                          \
    (void)instance, (void)error;                                                                                       \
    return attune_score_each(NAME##_body, host, batch, outcomes);                                                      \
  }                                                                                                                    \
  static const attune_parameter *const NAME##_parameters[] = {__VA_ARGS__, NULL};                                      \
  static const attune_reward NAME##_reward = {                                                                         \
      sizeof(attune_reward), ATTUNE_DETERMINISTIC, NEEDS, 0, NULL, #NAME, SUMMARY, 0, 0, NAME##_parameters, NULL,      \
      NULL, NAME##_score, NULL, NULL, NULL, NULL};
#define ATTUNE_REWARD_BODY(NAME)                                                                                       \
  static double NAME##_body(                                                                                           \
      ATTUNE_UNUSED const attune_call *call, ATTUNE_UNUSED const attune_sample *sample)

/* One of several rewards of a library: followed by its body, which sees `call` and `sample` and returns the score.
   NEEDS is 0 or ATTUNE_NEEDS_... flags; then come pointers to its parameters, or NULL. The body must give equal
   scores to equal samples; a reward that does not, or that keeps state, fills in an attune_reward itself. */
#define ATTUNE_REWARD_FUNCTION(NAME, SUMMARY, NEEDS, ...)                                                              \
  ATTUNE_REWARD_DECLARE(NAME, SUMMARY, NEEDS, __VA_ARGS__)                                                             \
  ATTUNE_REWARD_BODY(NAME)

/* A program that links several plugins into itself gives every entry a name of its own. */
#ifndef ATTUNE_ENTRY_NAME
#define ATTUNE_ENTRY_NAME attune_reward_entry
#endif

/* The library itself: ATTUNE_LIBRARY("lengths", "1.0", &brief_reward, &verbose_reward). */
#define ATTUNE_LIBRARY(NAME, VERSION, ...)                                                                             \
  ATTUNE_ENTRY_LINKAGE ATTUNE_EXPORT const attune_library *ATTUNE_ENTRY_NAME(void);                                    \
  ATTUNE_ENTRY_LINKAGE ATTUNE_EXPORT const attune_library *ATTUNE_ENTRY_NAME(void) {                                   \
    static const attune_reward *const rewards[] = {__VA_ARGS__};                                                       \
    static const attune_library library = {sizeof(attune_library), ATTUNE_MAGIC, ATTUNE_ABI_MAJOR, ATTUNE_ABI_MINOR,   \
                                           NAME, VERSION, sizeof(rewards) / sizeof(rewards[0]), rewards};              \
    return &library;                                                                                                   \
  }
#ifdef __cplusplus
#define ATTUNE_ENTRY_LINKAGE extern "C"
#else
#define ATTUNE_ENTRY_LINKAGE
#endif

/* A library with one reward: ATTUNE_REWARD(name, "summary") { ... return score; } */
#define ATTUNE_REWARD_WITH(NAME, SUMMARY, NEEDS, ...)                                                                  \
  ATTUNE_REWARD_DECLARE(NAME, SUMMARY, NEEDS, __VA_ARGS__)                                                             \
  ATTUNE_LIBRARY(#NAME, "1.0", &NAME##_reward)                                                                         \
  ATTUNE_REWARD_BODY(NAME)
#define ATTUNE_REWARD(NAME, SUMMARY) ATTUNE_REWARD_WITH(NAME, SUMMARY, 0, NULL)

#ifdef __cplusplus
}
#endif

#endif

"""##

  /// Sources/RewardKit/Library.swift
  static let file1 = ##"""
public import CRewardABI
import Synchronization

/// What the exported function of a plugin returns.
public typealias RewardLibrary = UnsafePointer<attune_library>

/// The library of these rewards, for the one exported line of a plugin:
///
///     @c(attune_reward_entry) public func entry() -> RewardLibrary { rewards(AnswerFormat.self) }
public func rewards(_ types: any RewardDescription.Type...) -> RewardLibrary {
  library(types.map { Definition($0) })
}

/// The library of these functions: name, then a closure that gives the score of one sample, or nil for no opinion.
///
///     @c(attune_reward_entry) public func entry() -> RewardLibrary {
///       rewards(["brief": { 1 / Double(1 + $0.completion.utf8.count) }])
///     }
public func rewards(_ functions: KeyValuePairs<String, (Sample) throws -> Double?>) -> RewardLibrary {
  library(
    functions.map { name, function in
      Definition(name: name, function: function)
    })
}

/// The library of this image, built once: the host may ask for it again.
private let built = Mutex<UInt>(0)

private func library(_ definitions: [Definition]) -> RewardLibrary {
  let address = built.withLock { address in
    if address != 0 { return address }
    let list = UnsafeMutablePointer<UnsafePointer<attune_reward>?>.allocate(capacity: definitions.count)
    for (i, definition) in definitions.enumerated() { list[i] = definition.cReward() }
    let made = UnsafeMutablePointer<attune_library>.allocate(capacity: 1)
    made.initialize(
      to: attune_library(
        struct_size: UInt32(MemoryLayout<attune_library>.size), magic: ATTUNE_MAGIC, abi_major: ATTUNE_ABI_MAJOR,
        abi_minor: ATTUNE_ABI_MINOR, name: permanent(definitions.first?.name ?? ""), version: permanent("1.0"),
        reward_count: definitions.count, rewards: list))
    address = UInt(bitPattern: made)
    return address
  }
  guard let library = RewardLibrary(bitPattern: address) else { preconditionFailure("a library has an address") }
  return library
}

/// Scores a batch into outcomes.
private typealias BatchFunction = ([Sample], UnsafePointer<UnsafeMutablePointer<attune_outcome>?>) throws -> Void

/// A reward as the host sees it. Lives as long as the process: the host never unloads a library.
private final class Definition {
  let name: String
  private let summary: String
  private let range: ClosedRange<Double>?
  private let parameters: [Parameter]?
  private let columns: [String]
  private let needs: UInt32
  private let flags: UInt32
  private let make: (Parameters) throws -> BatchFunction

  init(_ type: any RewardDescription.Type) {
    name = type.name
    summary = type.summary
    range = type.range
    parameters = type.parameters
    columns = type.columns
    needs = type.needs.rawValue | (type is any GroupReward.Type ? ATTUNE_NEEDS_GROUP : 0)
    flags = type.isDeterministic ? ATTUNE_DETERMINISTIC : 0
    make = { parameters in
      var reward = type.init()
      try reward.configure(parameters)
      if let reward = reward as? any Reward { return eachSample(reward) }
      if let reward = reward as? any GroupReward { return eachGroup(reward) }
      throw RewardError("\(type) is neither a Reward nor a GroupReward: it has no score method")
    }
  }

  init(name: String, function: @escaping (Sample) throws -> Double?) {
    self.name = name
    summary = ""
    range = nil
    parameters = []
    columns = []
    needs = 0
    flags = ATTUNE_DETERMINISTIC
    make = { _ in each { try function($0).score } }
  }

  func cReward() -> UnsafePointer<attune_reward> {
    let made = UnsafeMutablePointer<attune_reward>.allocate(capacity: 1)
    made.initialize(to: attune_reward())
    made.pointee.struct_size = UInt32(MemoryLayout<attune_reward>.size)
    made.pointee.flags = flags
    made.pointee.needs = needs
    made.pointee.reward_data = Unmanaged.passRetained(self).toOpaque()
    made.pointee.name = permanent(name)
    made.pointee.summary = permanent(summary)
    made.pointee.minimum = range?.lowerBound ?? 0
    made.pointee.maximum = range?.upperBound ?? 0
    if let parameters {
      let list = UnsafeMutablePointer<UnsafePointer<attune_parameter>?>.allocate(capacity: parameters.count + 1)
      for (i, parameter) in parameters.enumerated() {
        let entry = UnsafeMutablePointer<attune_parameter>.allocate(capacity: 1)
        entry.initialize(
          to: attune_parameter(
            struct_size: UInt32(MemoryLayout<attune_parameter>.size), type: parameter.type,
            name: permanent(parameter.name), default_json: parameter.defaultJSON.map(permanent),
            summary: permanent(parameter.summary), minimum: parameter.bounds?.lowerBound ?? 0,
            maximum: parameter.bounds?.upperBound ?? 0))
        list[i] = UnsafePointer(entry)
      }
      list[parameters.count] = nil
      made.pointee.parameters = UnsafePointer(list)
    }
    let list = UnsafeMutablePointer<UnsafePointer<CChar>?>.allocate(capacity: columns.count + 1)
    for (i, column) in columns.enumerated() { list[i] = permanent(column) }
    list[columns.count] = nil
    made.pointee.columns = UnsafePointer(list)

    made.pointee.create = { reward, host, _, instance, buffer in
      guard let data = reward?.pointee.reward_data, let host, let instance else { return ATTUNE_FAILED }
      do {
        let definition = Unmanaged<Definition>.fromOpaque(data).takeUnretainedValue()
        let function = try definition.make(Parameters(host: host))
        instance.pointee = Unmanaged.passRetained(Instance(function)).toOpaque()
        return ATTUNE_OK
      } catch {
        return report(error, into: buffer)
      }
    }
    made.pointee.score = { instance, host, batch, outcomes, buffer in
      guard let instance, let host, let batch, let outcomes else { return ATTUNE_FAILED }
      do {
        let samples = (0..<batch.pointee.sample_count).compactMap { i in
          batch.pointee.samples[i].map { Sample(raw: $0, batch: batch, host: host) }
        }
        try Unmanaged<Instance>.fromOpaque(instance).takeUnretainedValue().function(samples, outcomes)
        return ATTUNE_OK
      } catch {
        return report(error, into: buffer)
      }
    }
    made.pointee.destroy = { instance in
      if let instance { Unmanaged<Instance>.fromOpaque(instance).release() }
    }
    return UnsafePointer(made)
  }
}

private final class Instance {
  let function: BatchFunction
  init(_ function: @escaping BatchFunction) { self.function = function }
}

private func eachSample(_ reward: some Reward) -> BatchFunction {
  each { try reward.score($0).score }
}

private func each(_ function: @escaping (Sample) throws -> Score) -> BatchFunction {
  { samples, outcomes in
    for (i, sample) in samples.enumerated() {
      guard let outcome = outcomes[i] else { continue }
      let host = sample.host
      host.pointee.begin(host, i)
      do {
        write(try function(sample), into: outcome, host)
      } catch {
        write(error, into: outcome, host)
      }
      host.pointee.end(host, i)
    }
  }
}

private func eachGroup(_ reward: some GroupReward) -> BatchFunction {
  { samples, outcomes in
    var members: [UInt64: [Int]] = [:]
    var order: [UInt64] = []
    for (i, sample) in samples.enumerated() {
      if members[sample.groupID] == nil { order.append(sample.groupID) }
      members[sample.groupID, default: []].append(i)
    }
    for id in order {
      let indices = members[id] ?? []
      guard let host = indices.first.map({ samples[$0].host }) else { continue }
      for i in indices { host.pointee.begin(host, i) }
      do {
        let scores = try reward.score(group: indices.map { samples[$0] })
        guard scores.count == indices.count else {
          throw RewardError("\(scores.count) scores for a group of \(indices.count) completions")
        }
        for (i, score) in zip(indices, scores) {
          if let outcome = outcomes[i] { write(score.score, into: outcome, host) }
        }
      } catch {
        for i in indices { if let outcome = outcomes[i] { write(error, into: outcome, host) } }
      }
      for i in indices { host.pointee.end(host, i) }
    }
  }
}

// MARK: - Results in the host's memory

private func write(
  _ score: Score, into outcome: UnsafeMutablePointer<attune_outcome>, _ host: UnsafePointer<attune_host>
) {
  if let value = score.value {
    outcome.pointee.score = value
  } else {
    outcome.pointee.status = ATTUNE_NOT_APPLICABLE
  }
  outcome.pointee.log = lent(score.log, host)
  if !score.components.isEmpty, let list = array(attune_component.self, score.components.count, host) {
    for (i, component) in score.components.enumerated() {
      list[i] = attune_component(name: lent(component.name, host), value: component.value)
    }
    outcome.pointee.components = UnsafePointer(list)
    outcome.pointee.component_count = score.components.count
  }
  if !score.notes.isEmpty, let list = array(attune_note.self, score.notes.count, host) {
    for (i, note) in score.notes.enumerated() {
      list[i] = attune_note(name: lent(note.name, host), text: lent(note.text, host))
    }
    outcome.pointee.notes = UnsafePointer(list)
    outcome.pointee.note_count = score.notes.count
  }
  if let rewards = score.tokenRewards, let list = array(Float.self, rewards.count, host) {
    list.update(from: rewards, count: rewards.count)
    outcome.pointee.token_rewards = UnsafePointer(list)
    outcome.pointee.token_reward_count = rewards.count
  }
  if !score.stepRewards.isEmpty, let list = array(attune_step_reward.self, score.stepRewards.count, host) {
    for (i, step) in score.stepRewards.enumerated() {
      list[i] = attune_step_reward(
        first_token: UInt32(clamping: step.tokens.lowerBound), end_token: UInt32(clamping: step.tokens.upperBound),
        value: step.value, label: lent(step.label, host))
    }
    outcome.pointee.step_rewards = UnsafePointer(list)
    outcome.pointee.step_reward_count = score.stepRewards.count
  }
}

private func write(
  _ error: any Error, into outcome: UnsafeMutablePointer<attune_outcome>, _ host: UnsafePointer<attune_host>
) {
  outcome.pointee.status = (error as? RewardError)?.status ?? ATTUNE_FAILED
  outcome.pointee.log = lent("\(error)", host)
}

private func array<T>(_ type: T.Type, _ count: Int, _ host: UnsafePointer<attune_host>) -> UnsafeMutablePointer<T>? {
  host.pointee.allocate(host, max(1, count) * MemoryLayout<T>.stride)?.bindMemory(to: type, capacity: count)
}

/// A copy of the text in the host's arena; absent if it is empty.
private func lent(_ text: String, _ host: UnsafePointer<attune_host>) -> attune_string {
  var copy = text
  return copy.withUTF8 { bytes in
    guard bytes.count > 0, let memory = host.pointee.allocate(host, bytes.count + 1) else { return attune_string() }
    memory.copyMemory(from: bytes.baseAddress!, byteCount: bytes.count)
    return attune_string(data: memory.assumingMemoryBound(to: CChar.self), size: bytes.count)
  }
}

/// The error as a status, its description in the caller's buffer, cut at a whole character.
private func report(_ error: any Error, into buffer: UnsafeMutablePointer<attune_error>?) -> attune_status {
  if let buffer, buffer.pointee.capacity > 0, let message = buffer.pointee.message {
    var count = 0
    for character in "\(error)" {
      let bytes = Array(String(character).utf8)
      guard count + bytes.count < buffer.pointee.capacity else { break }
      for byte in bytes {
        message[count] = CChar(bitPattern: byte)
        count += 1
      }
    }
    message[count] = 0
  }
  return (error as? RewardError)?.status ?? ATTUNE_FAILED
}

/// A C string that is never freed.
private func permanent(_ text: String) -> UnsafePointer<CChar> {
  let bytes = Array(text.utf8CString)
  let memory = UnsafeMutablePointer<CChar>.allocate(capacity: bytes.count)
  memory.initialize(from: bytes, count: bytes.count)
  return UnsafePointer(memory)
}

"""##

  /// Sources/RewardKit/Parameters.swift
  static let file2 = ##"""
import CRewardABI

/// A parameter that a recipe may set.
public struct Parameter: Sendable {
  let name: String
  let type: Int32
  let defaultJSON: String?
  let summary: String
  let bounds: ClosedRange<Double>?

  /// A number; without a default it must be given.
  public static func number(
    _ name: String, default value: Double? = nil, in bounds: ClosedRange<Double>? = nil, _ summary: String = ""
  ) -> Parameter {
    Parameter(
      name: name, type: ATTUNE_NUMBER, defaultJSON: value.map { "\($0)" }, summary: summary, bounds: bounds)
  }

  public static func bool(_ name: String, default value: Bool? = nil, _ summary: String = "") -> Parameter {
    Parameter(
      name: name, type: ATTUNE_BOOL, defaultJSON: value.map { "\($0)" }, summary: summary, bounds: nil)
  }

  public static func string(_ name: String, default value: String? = nil, _ summary: String = "") -> Parameter {
    Parameter(name: name, type: ATTUNE_STRING, defaultJSON: value.map(quoted), summary: summary, bounds: nil)
  }
}

/// The values that the recipe gave, defaults filled in.
public struct Parameters {
  let host: UnsafePointer<attune_host>

  /// nil if there is no such parameter or it is no number.
  public func number(_ name: String) -> Double? {
    let found = value(name)
    return found.type == ATTUNE_NUMBER ? found.number : nil
  }

  public func bool(_ name: String) -> Bool? {
    let found = value(name)
    return found.type == ATTUNE_BOOL ? found.number != 0 : nil
  }

  public func string(_ name: String) -> String? {
    let found = value(name)
    return found.type == ATTUNE_STRING ? found.text.string : nil
  }

  /// Any value as JSON text; a string without its quotes.
  public func json(_ name: String) -> String? { value(name).text.string }

  private func value(_ name: String) -> attune_value {
    var found = attune_value()
    _ = host.pointee.parameter(host, name, &found)
    return found
  }
}

extension attune_string {
  /// nil if absent.
  var string: String? {
    guard let data else { return nil }
    return String(decoding: UnsafeRawBufferPointer(start: data, count: size), as: UTF8.self)
  }
}

private func quoted(_ text: String) -> String {
  var out = "\""
  for scalar in text.unicodeScalars {
    switch scalar {
    case "\"": out += "\\\""
    case "\\": out += "\\\\"
    case _ where scalar.value < 0x20:
      let hex = String(scalar.value, radix: 16)
      out += "\\u" + String(repeating: "0", count: 4 - hex.utf8.count) + hex
    default: out.unicodeScalars.append(scalar)
    }
  }
  return out + "\""
}

"""##

  /// Sources/RewardKit/Reward.swift
  static let file3 = ##"""
import CRewardABI

/// What a reward says about itself; every member has a default.
public protocol RewardDescription {
  init()
  /// The name in recipes and logs, by default the type's name in snake case.
  static var name: String { get }
  /// One line for people.
  static var summary: String { get }
  /// The expected range of scores, of finite bounds; nil (and 0...0): unknown. The validator holds the scores to it.
  static var range: ClosedRange<Double>? { get }
  /// The parameters that a recipe may set. The host checks names, types and bounds, and fills in defaults.
  static var parameters: [Parameter] { get }
  /// Columns of the data set without which no sample can be scored.
  static var columns: [String] { get }
  /// What the host should provide beside texts and columns.
  static var needs: Needs { get }
  /// True promises equal outcomes for equal samples.
  static var isDeterministic: Bool { get }
  /// Called once, before the first sample. What is thrown here stops the run before it starts.
  mutating func configure(_ parameters: Parameters) throws
}

/// A reward that looks at one completion at a time: a type with one method.
///
///     struct Brief: Reward {
///       func score(_ sample: Sample) -> Double { 1 / Double(1 + sample.completion.utf8.count) }
///     }
///     @c(attune_reward_entry) public func entry() -> RewardLibrary { rewards(Brief.self) }
public protocol Reward: RewardDescription {
  associatedtype Value: RewardValue
  /// The score of one completion: `Double`, `Double?` (nil: no opinion), `Score` or `Score?`.
  ///
  /// A thrown error marks this sample as failed, with the error's description; the others are scored.
  func score(_ sample: Sample) throws -> Value
}

/// A reward that compares the completions of one prompt.
public protocol GroupReward: RewardDescription {
  associatedtype Value: RewardValue
  /// The scores of one whole group, in the order of the samples.
  func score(group: [Sample]) throws -> [Value]
}

extension RewardDescription {
  public static var name: String { snakeCase("\(Self.self)") }
  public static var summary: String { "" }
  public static var range: ClosedRange<Double>? { nil }
  public static var parameters: [Parameter] { [] }
  public static var columns: [String] { [] }
  public static var needs: Needs { [] }
  public static var isDeterministic: Bool { true }
  public mutating func configure(_ parameters: Parameters) throws {}
}

/// What a reward may ask the host for.
public struct Needs: OptionSet, Sendable {
  public let rawValue: UInt32
  public init(rawValue: UInt32) { self.rawValue = rawValue }
  public static let tokens = Needs(rawValue: ATTUNE_NEEDS_TOKENS)
  public static let logprobs = Needs(rawValue: ATTUNE_NEEDS_LOGPROBS)
  /// Decoded pictures.
  public static let images = Needs(rawValue: ATTUNE_NEEDS_IMAGES)
  /// The files that the pictures were decoded from.
  public static let imageBytes = Needs(rawValue: ATTUNE_NEEDS_IMAGE_BYTES)
  /// Who wrote which part of a completion of several turns.
  public static let turns = Needs(rawValue: ATTUNE_NEEDS_TURNS)
}

/// Why a sample could not be scored.
public struct RewardError: Error, CustomStringConvertible {
  public let description: String
  let status: attune_status

  /// Something went wrong while scoring: the status is `failed`.
  public init(_ description: String) {
    self.description = description
    self.status = ATTUNE_FAILED
  }

  /// The sample's own data cannot be scored (a missing column, a malformed reference): the status is `invalid`.
  public static func invalid(_ description: String) -> RewardError {
    RewardError(description: description, status: ATTUNE_INVALID)
  }

  /// The reward saw `Sample.isCancelled` and stopped: the status is `timed_out`.
  public static func timedOut(_ description: String = "stopped at the time limit") -> RewardError {
    RewardError(description: description, status: ATTUNE_TIMED_OUT)
  }

  private init(description: String, status: attune_status) {
    self.description = description
    self.status = status
  }
}

/// `AnswerFormat` becomes `answer_format`, `GSM8KMatch` becomes `gsm8k_match`.
func snakeCase(_ name: String) -> String {
  var out = ""
  let scalars = Array(name.unicodeScalars)
  func isUpper(_ i: Int) -> Bool { scalars.indices.contains(i) && scalars[i].properties.isUppercase }
  func isLower(_ i: Int) -> Bool { scalars.indices.contains(i) && scalars[i].properties.isLowercase }
  for i in scalars.indices {
    if i > 0, isUpper(i), isLower(i - 1) || (isLower(i + 1) && scalars[i - 1] != "_") { out += "_" }
    out += scalars[i].properties.lowercaseMapping
  }
  return out
}

"""##

  /// Sources/RewardKit/Sample.swift
  static let file4 = ##"""
import CRewardABI

/// One completion, its prompt, and what is known about both. Valid only inside `score`: keep copies of its values.
public struct Sample {
  let raw: UnsafePointer<attune_sample>
  let batch: UnsafePointer<attune_batch>
  let host: UnsafePointer<attune_host>

  /// Exactly what the tokenizer saw.
  public var prompt: String { raw.pointee.prompt.string ?? "" }
  /// The prompt's messages; empty if it is plain text.
  public var messages: [Message] { messages(raw.pointee.message_count, raw.pointee.messages) }
  /// What the template opened the completion with, such as `<think>`.
  public var generationPrefix: String { raw.pointee.generation_prefix.string ?? "" }
  /// What the policy wrote, without special tokens.
  public var completion: String { raw.pointee.completion.string ?? "" }
  /// With special tokens kept, and with what tools and the environment answered.
  public var rawCompletion: String { raw.pointee.completion_raw.string ?? "" }
  /// Empty unless there were several turns.
  public var completionMessages: [Message] {
    messages(raw.pointee.completion_message_count, raw.pointee.completion_messages)
  }
  public var stopString: String? { raw.pointee.stop_string.string }
  /// The true answer, if the data set has one.
  public var reference: String? { raw.pointee.reference.string }
  /// All answers that are right; the first is `reference`.
  public var references: [String] {
    (0..<raw.pointee.reference_count).compactMap { raw.pointee.references?[$0].string }
  }
  public var dataset: String { raw.pointee.dataset.string ?? "" }
  public var rowID: String { raw.pointee.row_id.string ?? "" }
  public var channel: String { raw.pointee.channel.string ?? "" }

  public var id: UInt64 { raw.pointee.sample_id }
  public var groupID: UInt64 { raw.pointee.group_id }
  public var indexInGroup: Int { Int(raw.pointee.index_in_group) }
  public var groupSize: Int { Int(raw.pointee.group_size) }
  /// True if the token limit cut the completion off.
  public var isTruncated: Bool { raw.pointee.truncated != 0 }
  public var finishReason: FinishReason { FinishReason(rawValue: raw.pointee.finish_reason) ?? .error }

  public enum FinishReason: Int32, Sendable {
    case stop, length, stopString, toolCall, aborted, error
  }

  public var tokenCount: Int { raw.pointee.token_count }
  /// Empty unless the reward needs `.tokens`.
  public var tokenIDs: [Int32] { array(raw.pointee.token_ids) }
  /// The byte of `rawCompletion` at which each token begins.
  public var tokenOffsets: [Int] { array(raw.pointee.token_offsets).map(Int.init) }
  /// True where the policy wrote the token.
  public var policyMask: [Bool] {
    raw.pointee.policy_mask == nil
      ? [Bool](repeating: true, count: tokenCount) : array(raw.pointee.policy_mask).map { $0 != 0 }
  }
  /// Natural-log probabilities of the sampler; empty unless the reward needs `.logprobs`.
  public var logprobs: [Float] { array(raw.pointee.logprobs) }
  /// In nats; empty if the sampler did not record them.
  public var entropies: [Float] { array(raw.pointee.entropies) }

  private func array<T>(_ start: UnsafePointer<T>?) -> [T] {
    start.map { Array(UnsafeBufferPointer(start: $0, count: tokenCount)) } ?? []
  }

  /// The bytes of `completion` without a copy.
  public func withCompletionUTF8<R>(_ body: (UnsafeBufferPointer<UInt8>) throws -> R) rethrows -> R {
    let text = raw.pointee.completion
    guard let data = text.data else { return try body(UnsafeBufferPointer(start: nil, count: 0)) }
    return try data.withMemoryRebound(to: UInt8.self, capacity: text.size) {
      try body(UnsafeBufferPointer(start: $0, count: text.size))
    }
  }

  /// The whole row of the data set as one JSON object.
  public var columnsJSON: String { raw.pointee.columns.string ?? "{}" }

  /// A column that holds a string; nil if it is absent or something else.
  public func string(_ column: String) -> String? {
    let found = self.column(named: column)
    return found.type == ATTUNE_STRING ? found.text.string : nil
  }

  public func number(_ column: String) -> Double? {
    let found = self.column(named: column)
    return found.type == ATTUNE_NUMBER ? found.number : nil
  }

  public func bool(_ column: String) -> Bool? {
    let found = self.column(named: column)
    return found.type == ATTUNE_BOOL ? found.number != 0 : nil
  }

  /// Any column as JSON text; a string without its quotes.
  public func json(_ column: String) -> String? { self.column(named: column).text.string }

  private func column(named column: String) -> attune_value {
    var found = attune_value()
    _ = host.pointee.column(host, raw, column, &found)
    return found
  }

  /// A column, or a part of one by its path (`"[2]"`, `"answers[0].text"`).
  public func value(_ column: String, at path: String = "") -> Value? {
    let found = self.column(named: column)
    guard found.type != ATTUNE_ABSENT else { return nil }
    return path.isEmpty ? Value(found) : Value.part(of: found.text, at: path, host)
  }

  /// A part of a JSON text by its path; nil if there is none, or the text is no JSON.
  public func value(inJSON text: String, at path: String = "") -> Value? {
    var copy = text
    return copy.withUTF8 { bytes in
      bytes.withMemoryRebound(to: CChar.self) {
        Value.part(of: attune_string(data: $0.baseAddress, size: $0.count), at: path, host)
      }
    }
  }

  /// Who wrote a message or a stretch of a completion.
  public enum Origin: Int32, Sendable {
    case policy, tool, environment, template, data
  }

  /// One message of the prompt, or of a completion of several turns.
  public struct Message: Sendable {
    public let role: String
    public let name: String?
    /// The text parts of its content, joined.
    public let text: String
    /// A JSON list, or nil.
    public let toolCalls: String?
    /// The whole message.
    public let json: String
    public let origin: Origin
  }

  private func messages(_ count: Int, _ list: UnsafePointer<UnsafePointer<attune_message>?>?) -> [Message] {
    (0..<count).compactMap { i in
      guard let message = list?[i]?.pointee else { return nil }
      return Message(
        role: message.role.string ?? "", name: message.name.string, text: message.text.string ?? "",
        toolCalls: message.tool_calls.string, json: message.json.string ?? "{}",
        origin: Origin(rawValue: message.origin) ?? .data)
    }
  }

  /// A stretch of a completion of several turns.
  public struct Turn: Sendable {
    public let origin: Origin
    public let tokens: Range<Int>
    /// Given by the environment, or nil.
    public let reward: Double?
  }

  public var turns: [Turn] {
    (0..<raw.pointee.turn_count).compactMap { i in
      guard let turn = raw.pointee.turns?[i]?.pointee else { return nil }
      return Turn(
        origin: Origin(rawValue: turn.origin) ?? .template,
        tokens: Int(turn.first_token)..<max(Int(turn.first_token), Int(turn.end_token)),
        reward: turn.reward.isNaN ? nil : turn.reward)
    }
  }

  /// The pictures of the prompt; empty unless the reward needs `.images`.
  public var images: [Image] {
    (0..<raw.pointee.image_count).compactMap { raw.pointee.images?[$0].map { Image(raw: $0) } }
  }

  /// A picture: 8-bit RGB, rows from the top.
  public struct Image {
    let raw: UnsafePointer<attune_image>
    public var width: Int { Int(raw.pointee.width) }
    public var height: Int { Int(raw.pointee.height) }
    /// The size after the model's own resize, or nil if unknown.
    public var modelSize: (width: Int, height: Int)? {
      raw.pointee.model_width == 0 ? nil : (Int(raw.pointee.model_width), Int(raw.pointee.model_height))
    }
    /// The factors from what the model writes as coordinates to pixels of this picture, or nil if unknown.
    public var scale: (x: Double, y: Double)? {
      raw.pointee.scale_x.isNaN ? nil : (raw.pointee.scale_x, raw.pointee.scale_y)
    }
    /// 1000 for a model that writes coordinates as thousandths of a side, else 0.
    public var coordinateRange: Double { raw.pointee.coordinate_range }
    public var messageIndex: Int? { raw.pointee.message_index < 0 ? nil : Int(raw.pointee.message_index) }
    /// Of a video frame, in seconds.
    public var timestamp: Double? { raw.pointee.timestamp.isNaN ? nil : raw.pointee.timestamp }
    /// `[height, row_stride]` bytes without a copy; empty if the picture was not decoded.
    public func withPixels<R>(_ body: (UnsafeBufferPointer<UInt8>, _ rowStride: Int) throws -> R) rethrows -> R {
      let stride = Int(raw.pointee.row_stride)
      return try body(
        UnsafeBufferPointer(start: raw.pointee.pixels, count: raw.pointee.pixels == nil ? 0 : height * stride), stride)
    }
    /// The picture's file; empty unless the reward needs `.imageBytes`.
    public var encoded: [UInt8] {
      let bytes = raw.pointee.encoded
      return bytes.data.map { Array(UnsafeRawBufferPointer(start: $0, count: bytes.size)) } ?? []
    }
    public var mimeType: String? { raw.pointee.mime_type.string }
  }

  // Where the run stands.
  public var step: Int { Int(clamping: batch.pointee.step) }
  /// 0 if unknown.
  public var totalSteps: Int { Int(clamping: batch.pointee.total_steps) }
  public var epoch: Double { batch.pointee.epoch }
  public var isEvaluation: Bool { batch.pointee.phase == ATTUNE_PHASE_EVAL }
  public var policyVersion: UInt64 { batch.pointee.policy_version }

  // The host's services.

  /// True when this sample's time is up: stop, and throw `RewardError.timedOut()`.
  public var isCancelled: Bool { host.pointee.cancelled(host) }
  /// The `counter`-th random word of this sample: the same in every run of the same recipe.
  public func random(_ counter: UInt64) -> UInt64 { host.pointee.random(host, raw, counter) }
  /// A number for the step's plots.
  public func metric(_ name: String, _ value: Double) { host.pointee.metric(host, name, value) }
  /// A line about the plugin; what concerns a sample belongs into `Score.log`.
  public func log(_ text: String) {
    var copy = text
    copy.withUTF8 { bytes in
      bytes.withMemoryRebound(to: CChar.self) {
        host.pointee.log(host, ATTUNE_LOG_INFO, attune_string(data: $0.baseAddress, size: $0.count))
      }
    }
  }
  /// Text of token ids by the policy's tokenizer; nil if the host has none.
  public func decode(_ ids: [Int32]) -> String? {
    let end = MemoryLayout<attune_host>.offset(of: \.decode_tokens)! + MemoryLayout<UnsafeRawPointer>.size
    guard Int(host.pointee.struct_size) >= end else { return nil }
    var text = attune_string()
    return host.pointee.decode_tokens(host, ids, ids.count, &text) == ATTUNE_OK ? text.string : nil
  }

  /// A judge's answer to a user's message, within the host's limits of concurrency and rate.
  ///
  /// - Parameter judge: its name in the recipe; nil: the only one.
  /// - Throws: `RewardError` with the host's reason if there is no answer.
  public func askJudge(_ prompt: String, judge: String? = nil, maxTokens: Int? = nil) throws -> String {
    let end = MemoryLayout<attune_host>.offset(of: \.judge)! + MemoryLayout<UnsafeRawPointer>.size
    guard Int(host.pointee.struct_size) >= end else { throw RewardError("this host has no judges") }
    var request = attune_judge_request()
    request.struct_size = UInt32(MemoryLayout<attune_judge_request>.size)
    request.max_tokens = UInt32(clamping: maxTokens ?? 0)
    request.temperature = .nan
    var reply = attune_judge_reply()
    reply.struct_size = UInt32(MemoryLayout<attune_judge_reply>.size)
    var question = prompt
    var name = judge ?? ""
    let status = question.withUTF8 { question in
      name.withUTF8 { name in
        func lend(_ bytes: UnsafeBufferPointer<UInt8>) -> attune_string {
          attune_string(
            data: UnsafeRawPointer(bytes.baseAddress)?.assumingMemoryBound(to: CChar.self), size: bytes.count)
        }
        request.prompt = lend(question)
        if judge != nil { request.judge = lend(name) }
        return host.pointee.judge(host, &request, &reply)
      }
    }
    if status == ATTUNE_TIMED_OUT { throw RewardError.timedOut(reply.message.string ?? "the judge took too long") }
    guard status == ATTUNE_OK, let text = reply.text.string else {
      throw RewardError(reply.message.string ?? "the judge gave no answer (status \(status))")
    }
    return text
  }
}

/// A value out of a column or a JSON text.
public struct Value: Sendable {
  public enum Kind: Int32, Sendable {
    case null = 1
    case bool, number, string, list, object
  }
  public let kind: Kind
  /// A string's characters; any other value as JSON text.
  public let text: String
  private let raw: Double

  /// nil if it is no number.
  public var number: Double? { kind == .number ? raw : nil }
  /// nil if it is no string.
  public var string: String? { kind == .string ? text : nil }
  /// nil if it is no boolean.
  public var bool: Bool? { kind == .bool ? raw != 0 : nil }
  /// How many a list or an object holds; 0 for everything else.
  public var count: Int { kind == .list || kind == .object ? Int(raw) : 0 }

  init?(_ value: attune_value) {
    guard let kind = Kind(rawValue: value.type) else { return nil }
    self.kind = kind
    text = value.text.string ?? ""
    raw = value.number
  }

  static func part(of text: attune_string, at path: String, _ host: UnsafePointer<attune_host>) -> Value? {
    var found = attune_value()
    guard host.pointee.json(host, text, path, &found) == ATTUNE_OK else { return nil }
    return Value(found)
  }
}

"""##

  /// Sources/RewardKit/Score.swift
  static let file5 = ##"""
/// A score with what explains it.
public struct Score: ExpressibleByFloatLiteral, ExpressibleByIntegerLiteral {
  /// nil: the reward has no opinion on this sample.
  public var value: Double?
  /// Named parts, shown and logged; trained on only where the recipe gives one a weight.
  public var components: [(name: String, value: Double)]
  /// Named texts, shown and logged.
  public var notes: [(name: String, text: String)]
  /// One line for people: what was extracted, which rule matched.
  public var log: String
  /// One reward per token of the completion, or nil.
  public var tokenRewards: [Float]?
  public var stepRewards: [StepReward]

  public init(
    _ value: Double?, components: KeyValuePairs<String, Double> = [:], log: String = "",
    notes: KeyValuePairs<String, String> = [:], tokenRewards: [Float]? = nil, stepRewards: [StepReward] = []
  ) {
    self.value = value
    self.notes = notes.map { (name: $0.key, text: $0.value) }
    self.components = components.map { (name: $0.key, value: $0.value) }
    self.log = log
    self.tokenRewards = tokenRewards
    self.stepRewards = stepRewards
  }

  public init(floatLiteral value: Double) { self.init(value) }
  public init(integerLiteral value: Int) { self.init(Double(value)) }
}

/// A reward for a range of the completion's tokens.
public struct StepReward: Sendable {
  public var tokens: Range<Int>
  public var value: Double
  public var label: String

  public init(tokens: Range<Int>, value: Double, label: String = "") {
    self.tokens = tokens
    self.value = value
    self.label = label
  }
}

/// What `score` may return.
public protocol RewardValue {
  var score: Score { get }
}

extension Score: RewardValue {
  public var score: Score { self }
}

extension Double: RewardValue {
  public var score: Score { Score(self) }
}

extension Optional: RewardValue where Wrapped: RewardValue {
  public var score: Score { self?.score ?? Score(nil) }
}

"""##

  /// rewards/answer_format/answer_format.swift
  static let file6 = ##"""
import RewardKit

/// 1 if the whole completion is `<answer>`, digits, `</answer>` and nothing else.
struct AnswerFormat: Reward {
  static let summary = "1 if the completion is exactly <answer>digits</answer>"
  static let range: ClosedRange<Double>? = 0...1

  func score(_ sample: Sample) -> Score {
    let problem = Self.problem(in: sample.completion)
    return Score(
      problem == nil ? 1 : 0, components: ["well_formed": problem == nil ? 1 : 0], log: problem ?? "well formed")
  }

  /// What keeps the text from being an answer, or nil.
  static func problem(in text: String) -> String? {
    let open = "<answer>".utf8
    let close = "</answer>".utf8
    let bytes = Array(text.utf8)
    guard bytes.starts(with: open) else { return "does not begin with <answer>" }
    guard bytes.count >= open.count + close.count, bytes.suffix(close.count).elementsEqual(close) else {
      return "does not end with </answer>"
    }
    let inside = bytes[open.count..<(bytes.count - close.count)]
    if inside.isEmpty { return "nothing between the tags" }
    return inside.allSatisfy { (0x30...0x39).contains($0) } ? nil : "something other than digits between the tags"
  }
}

@c(attune_reward_entry) public func entry() -> RewardLibrary { rewards(AnswerFormat.self) }

"""##

  /// rewards/f1/f1.swift
  static let file7 = ##"""
import RewardKit

/// The F1 score between the words of the answer and the words of a reference, as question answering counts it.
///
/// The answer is what stands in the last closed `<answer>` span, else the whole completion. Words are compared as
/// multisets, after the normalization of `exact_match`; of several references the best counts.
struct F1: Reward {
  static let summary = "F1 between the words of the answer and of a reference, the best of several references"
  static let range: ClosedRange<Double>? = 0...1

  func score(_ sample: Sample) throws -> Score {
    let references = sample.references
    guard !references.isEmpty else { return Score(nil, log: "no reference") }
    let completion = Array(sample.completion.utf8)
    let answer = Self.words(Self.answerSpan(in: completion) ?? completion[...])
    var best = Match()
    for reference in references {
      let words = Self.words(Array(reference.utf8)[...])
      guard !words.isEmpty else { throw RewardError.invalid("a reference is empty") }
      let match = Match(answer, words)
      if match.f1 > best.f1 || best.of == 0 { best = match }
    }
    return Score(
      best.f1, components: ["precision": best.precision, "recall": best.recall],
      log: "\(best.common) words in common, \(best.answered) in the answer, \(best.of) in the reference")
  }

  /// How many words two texts share, counted as often as they occur in both.
  struct Match {
    var common = 0
    var answered = 0
    var of = 0

    init() {}

    init(_ answer: [[UInt8]], _ reference: [[UInt8]]) {
      answered = answer.count
      of = reference.count
      var left: [[UInt8]: Int] = [:]
      for word in reference { left[word, default: 0] += 1 }
      for word in answer {
        guard let count = left[word], count > 0 else { continue }
        left[word] = count - 1
        common += 1
      }
    }

    var precision: Double { answered == 0 ? 0 : Double(common) / Double(answered) }
    var recall: Double { of == 0 ? 0 : Double(common) / Double(of) }
    var f1: Double { common == 0 ? 0 : 2 * precision * recall / (precision + recall) }
  }

  /// What the last closed `<answer>` span holds, or nil.
  static func answerSpan(in text: [UInt8]) -> ArraySlice<UInt8>? {
    let open = Array("<answer>".utf8)
    let close = Array("</answer>".utf8)
    var from: Int?
    var span: ArraySlice<UInt8>?
    for i in text.indices where text[i] == open[0] {
      if text[i...].starts(with: open) {
        from = i + open.count
      } else if let start = from, text[i...].starts(with: close) {
        span = text[start..<i]
        from = nil
      }
    }
    return span
  }

  /// Lower-case words without punctuation and the articles a, an, the, all of it ASCII. A text of which nothing would be
  /// left (the answer "A", the answer "+") keeps more of itself.
  static func words(_ text: ArraySlice<UInt8>) -> [[UInt8]] {
    let all = text.split { $0 == 0x20 || (0x09...0x0D).contains($0) }.map { word in
      word.map { (0x41...0x5A).contains($0) ? $0 + 32 : $0 }
    }
    let plain = all.map { $0.filter { !isPunctuation($0) } }.filter { !$0.isEmpty }
    let telling = plain.filter { !articles.contains($0) }
    if !telling.isEmpty { return telling }
    return plain.isEmpty ? all : plain
  }

  private static let articles = ["a", "an", "the"].map { Array($0.utf8) }

  private static func isPunctuation(_ byte: UInt8) -> Bool {
    switch byte {
    case 0x21...0x2F, 0x3A...0x40, 0x5B...0x60, 0x7B...0x7E: true
    default: false
    }
  }
}

@c(attune_reward_entry) public func entry() -> RewardLibrary { rewards(F1.self) }

"""##

  /// rewards/fuzzy_match/fuzzy_match.swift
  static let file8 = ##"""
import RewardKit

/// How close the answer is to a reference, by the edits that lead from one to the other.
///
/// The answer is what stands in the last closed `<answer>` span, else the whole completion. Of several references the
/// closest counts.
struct FuzzyMatch: Reward {
  static let summary = "closeness of the answer to a reference: 1 - edits / length, in characters or in words"
  static let range: ClosedRange<Double>? = 0...1
  static let parameters: [Parameter] = [
    .string(
      "mode", default: "ratio",
      "ratio: edits of code points over the longer text; word_error_rate: edits of words over the reference's"),
    .bool("normalize", default: true, "compare without ASCII case, punctuation and repeated spaces"),
    .number(
      "max_length", default: 4096, in: 1...16384, "how many units are aligned; each one beyond them counts as an edit"),
  ]

  private var countsWords = false
  private var normalizes = true
  private var maxLength = 4096

  mutating func configure(_ parameters: Parameters) throws {
    let mode = parameters.string("mode") ?? "ratio"
    guard ["ratio", "word_error_rate"].contains(mode) else {
      throw RewardError.invalid("mode is '\(mode)', expected ratio or word_error_rate")
    }
    countsWords = mode == "word_error_rate"
    normalizes = parameters.bool("normalize") ?? true
    maxLength = Int(parameters.number("max_length") ?? 4096)
  }

  func score(_ sample: Sample) throws -> Score {
    let references = sample.references
    guard !references.isEmpty else { return Score(nil, log: "no reference") }
    let completion = Array(sample.completion.utf8)
    let answer = words(Self.answerSpan(in: completion) ?? completion[...])
    var best: (score: Double, edits: Int, length: Int)?
    for reference in references {
      let reference = words(Array(reference.utf8)[...])
      guard !reference.isEmpty else { throw RewardError.invalid("a reference is empty") }
      let (a, b) =
        countsWords ? Self.numbered(answer, reference) : (Self.characters(answer), Self.characters(reference))
      let edits = Self.edits(a, b, limit: maxLength)
      let length = countsWords ? b.count : max(a.count, b.count)
      let score = 1 - min(1, Double(edits) / Double(length))
      if score > best?.score ?? -1 { best = (score, edits, length) }
    }
    guard let best else { return Score(nil) }
    return Score(
      best.score, components: ["edits": Double(best.edits)],
      log: "\(best.edits) edits in \(best.length) \(countsWords ? "words" : "characters")")
  }

  // MARK: Texts as units

  private func words(_ text: ArraySlice<UInt8>) -> [[UInt8]] {
    let all = text.split { $0 == 0x20 || (0x09...0x0D).contains($0) }.map(Array.init)
    guard normalizes else { return all }
    let lower = all.map { $0.map { (0x41...0x5A).contains($0) ? $0 + 32 : $0 } }
    let plain = lower.map { $0.filter { !Self.isPunctuation($0) } }.filter { !$0.isEmpty }
    return plain.isEmpty ? lower : plain
  }

  /// Code points of the words with one space between them.
  private static func characters(_ words: [[UInt8]]) -> [UInt32] {
    String(decoding: Array(words.joined(separator: [0x20])), as: UTF8.self).unicodeScalars.map(\.value)
  }

  /// Two lists of words as numbers that are equal for equal words.
  private static func numbered(_ a: [[UInt8]], _ b: [[UInt8]]) -> ([UInt32], [UInt32]) {
    var numbers: [[UInt8]: UInt32] = [:]
    func number(_ word: [UInt8]) -> UInt32 {
      let next = UInt32(numbers.count)
      return numbers[word]
        ?? {
          numbers[word] = next; return next
        }()
    }
    return (a.map(number), b.map(number))
  }

  // MARK: Edits

  /// The fewest insertions, deletions and replacements that lead from `a` to `b` (Levenshtein). What both begin and end
  /// with costs nothing; of the rest at most `limit` units are aligned, in O(limit²) time.
  static func edits(_ a: [UInt32], _ b: [UInt32], limit: Int) -> Int {
    var (a, b) = (a[...], b[...])
    while let first = a.first, first == b.first { (a, b) = (a.dropFirst(), b.dropFirst()) }
    while let last = a.last, last == b.last { (a, b) = (a.dropLast(), b.dropLast()) }
    let beyond = max(0, a.count - limit) + max(0, b.count - limit)
    let (x, y) = (Array(a.prefix(limit)), Array(b.prefix(limit)))
    // row[j]: edits from what was read of x to the first j units of y.
    var row = Array(0...y.count)
    for i in x.indices {
      var diagonal = row[0]
      row[0] = i + 1
      for j in y.indices {
        let replaced = diagonal + (x[i] == y[j] ? 0 : 1)
        diagonal = row[j + 1]
        row[j + 1] = min(replaced, diagonal + 1, row[j] + 1)
      }
    }
    return row[y.count] + beyond
  }

  /// What the last closed `<answer>` span holds, or nil.
  static func answerSpan(in text: [UInt8]) -> ArraySlice<UInt8>? {
    let open = Array("<answer>".utf8)
    let close = Array("</answer>".utf8)
    var from: Int?
    var span: ArraySlice<UInt8>?
    for i in text.indices where text[i] == open[0] {
      if text[i...].starts(with: open) {
        from = i + open.count
      } else if let start = from, text[i...].starts(with: close) {
        span = text[start..<i]
        from = nil
      }
    }
    return span
  }

  private static func isPunctuation(_ byte: UInt8) -> Bool {
    switch byte {
    case 0x21...0x2F, 0x3A...0x40, 0x5B...0x60, 0x7B...0x7E: true
    default: false
    }
  }
}

@c(attune_reward_entry) public func entry() -> RewardLibrary { rewards(FuzzyMatch.self) }

"""##

  /// rewards/group_length/group_length.swift
  static let file9 = ##"""
import RewardKit

/// Prefers the shorter of a prompt's right completions (Kimi k1.5, section 2.3.3).
///
/// Over a whole group, with the lengths of its completions, λ = 0.5 - (length - shortest) / (longest - shortest). A right
/// completion scores λ, a wrong one min(0, λ): being brief never pays for being wrong. Where all are equally long, all
/// score 0.
struct GroupLength: GroupReward {
  static let summary = "the shorter of a group's right completions score higher, from 0.5 to -0.5; wrong ones at most 0"
  static let range: ClosedRange<Double>? = -0.5...0.5
  static let parameters: [Parameter] = [
    .string("unit", default: "tokens", "tokens or characters"),
    .string(
      "correct", default: "match",
      "match: the answer is a reference, as in exact_match; all: every completion counts as right; column: as a column says"
    ),
    .string("column", default: "correct", "for correct: column, a boolean or a number that is right from 1 on"),
  ]

  private enum Correctness: String { case match, all, column }
  private var countsTokens = true
  private var correctness = Correctness.match
  private var column = "correct"

  mutating func configure(_ parameters: Parameters) throws {
    let unit = parameters.string("unit") ?? "tokens"
    guard ["tokens", "characters"].contains(unit) else {
      throw RewardError.invalid("unit is '\(unit)', expected tokens or characters")
    }
    countsTokens = unit == "tokens"
    let word = parameters.string("correct") ?? "match"
    guard let correctness = Correctness(rawValue: word) else {
      throw RewardError.invalid("correct is '\(word)', expected match, all or column")
    }
    self.correctness = correctness
    column = parameters.string("column") ?? column
  }

  func score(group: [Sample]) throws -> [Score] {
    if let absent = group.lazy.compactMap(absence).first { return group.map { _ in Score(nil, log: absent) } }
    let lengths = try group.map(length)
    let right = try group.map(isRight)
    guard let shortest = lengths.min(), let longest = lengths.max() else { return [] }
    return zip(lengths, right).map { length, right in
      let spread = Double(longest - shortest)
      let preference = spread == 0 ? 0 : 0.5 - Double(length - shortest) / spread
      return Score(
        right ? preference : min(0, preference), components: ["length": Double(length), "right": right ? 1 : 0],
        log:
          "\(right ? "right" : "wrong"), \(length) of \(shortest) to \(longest) \(countsTokens ? "tokens" : "characters")"
      )
    }
  }

  private func length(_ sample: Sample) throws -> Int {
    guard countsTokens else { return sample.completion.unicodeScalars.count }
    if sample.tokenCount == 0, !sample.completion.isEmpty {
      throw RewardError.invalid("a completion comes without tokens: unit characters would do")
    }
    return sample.policyMask.count { $0 }
  }

  /// What a sample lacks to be called right or wrong, or nil.
  private func absence(_ sample: Sample) -> String? {
    switch correctness {
    case .all: return nil
    case .column:
      let kind = sample.value(column)?.kind ?? .null
      return kind == .null ? "no column \(column)" : nil
    case .match: return sample.references.isEmpty ? "no reference" : nil
    }
  }

  private func isRight(_ sample: Sample) throws -> Bool {
    switch correctness {
    case .all: return true
    case .column:
      if let right = sample.bool(column) { return right }
      guard let number = sample.number(column) else {
        throw RewardError.invalid("the column \(column) is no boolean and no number")
      }
      return number >= 1
    case .match:
      let completion = Array(sample.completion.utf8)
      let answer = Self.words(Self.answerSpan(in: completion) ?? completion[...])
      return sample.references.contains { Self.words(Array($0.utf8)[...]) == answer }
    }
  }

  /// What the last closed `<answer>` span holds, or nil.
  static func answerSpan(in text: [UInt8]) -> ArraySlice<UInt8>? {
    let open = Array("<answer>".utf8)
    let close = Array("</answer>".utf8)
    var from: Int?
    var span: ArraySlice<UInt8>?
    for i in text.indices where text[i] == open[0] {
      if text[i...].starts(with: open) {
        from = i + open.count
      } else if let start = from, text[i...].starts(with: close) {
        span = text[start..<i]
        from = nil
      }
    }
    return span
  }

  /// Lower-case words without punctuation and the articles a, an, the, all of it ASCII. A text of which nothing would be
  /// left (the answer "A", the answer "+") keeps more of itself.
  static func words(_ text: ArraySlice<UInt8>) -> [[UInt8]] {
    let all = text.split { $0 == 0x20 || (0x09...0x0D).contains($0) }.map { word in
      word.map { (0x41...0x5A).contains($0) ? $0 + 32 : $0 }
    }
    let plain = all.map { $0.filter { !isPunctuation($0) } }.filter { !$0.isEmpty }
    let telling = plain.filter { !articles.contains($0) }
    if !telling.isEmpty { return telling }
    return plain.isEmpty ? all : plain
  }

  private static let articles = ["a", "an", "the"].map { Array($0.utf8) }

  private static func isPunctuation(_ byte: UInt8) -> Bool {
    switch byte {
    case 0x21...0x2F, 0x3A...0x40, 0x5B...0x60, 0x7B...0x7E: true
    default: false
    }
  }
}

@c(attune_reward_entry) public func entry() -> RewardLibrary { rewards(GroupLength.self) }

"""##

  /// rewards/react/react.swift
  static let file10 = ##"""
import Foundation
import RewardKit

/// Whether an agent takes the right next step: the action's name, and its arguments.
///
/// Prediction and reference are texts such as `Action: search` and `Action Input: {"query": "Paris"}`. What an agent writes
/// before does not matter to the score; the component `format` says whether it is a think span and then the step.
struct React: Reward {
  static let summary = "the right action with the right arguments, graded by the F1 of keys and values"
  static let range: ClosedRange<Double>? = 0...1
  static let parameters: [Parameter] = [
    .bool("binary", default: false, "1 only for arguments that are wholly right, else 0"),
    .number(
      "rouge_threshold", default: 0.2, in: 0...1, "arguments that are no JSON count from above this ROUGE-L on"),
    .number("format_weight", default: 0, in: 0...1, "the share of the score that is the format"),
    .bool("prefix", default: true, "the format may begin in what the template opened the completion with"),
  ]

  private var isBinary = false
  private var threshold = 0.2
  private var formatWeight = 0.0
  private var includesPrefix = true

  mutating func configure(_ parameters: Parameters) throws {
    isBinary = parameters.bool("binary") ?? isBinary
    threshold = parameters.number("rouge_threshold") ?? threshold
    formatWeight = parameters.number("format_weight") ?? formatWeight
    includesPrefix = parameters.bool("prefix") ?? includesPrefix
  }

  func score(_ sample: Sample) throws -> Score {
    let references = sample.references.map { Step(Array($0.utf8)[...]) }
    guard !references.isEmpty else { return Score(nil, log: "no reference") }
    guard references.allSatisfy({ $0.action != nil }) else { throw RewardError.invalid("a reference has no 'Action:'") }
    let step = Step(Array(sample.completion.utf8)[...])
    let format = Self.hasFormat(Array(((includesPrefix ? sample.generationPrefix : "") + sample.completion).utf8)[...])
    var best: (named: Double, arguments: Double) = (0, 0)
    for reference in references where reference.action == step.action {
      best = (1, max(best.arguments, arguments(step.input, reference.input)))
    }
    let expected = references.map { ($0.action ?? "").prefix(80) }.joined(separator: " or ")
    return Score(
      (1 - formatWeight) * best.arguments + formatWeight * (format ? 1 : 0),
      components: ["format": format ? 1 : 0, "action": best.named, "arguments": best.arguments],
      log: "action \(step.action?.prefix(80) ?? "none"), expected \(expected)")
  }

  /// `<think>`, `</think>`, then `Action:` and somewhere behind it `Action Input:`.
  static func hasFormat(_ text: ArraySlice<UInt8>) -> Bool {
    guard text.starts(with: "<think>".utf8), let end = first("</think>", in: text) else { return false }
    let rest = text[(end + "</think>".utf8.count)...].drop(while: isSpace)
    return rest.starts(with: "Action:".utf8) && first("Action Input:", in: rest) != nil
  }

  // MARK: Arguments

  private func arguments(_ predicted: String, _ reference: String) -> Double {
    let graded: Double
    switch (JSONValue(parsing: predicted), JSONValue(parsing: reference)) {
    case (.object(let a)?, .object(let b)?): graded = Self.f1(a, b)
    case (let a?, let b?): graded = a == b ? 1 : 0
    case (nil, nil):
      let rouge = Self.rougeL(predicted, reference)
      // Free text need not be equal: above the threshold it is right.
      return rouge > threshold ? (isBinary ? 1 : rouge) : 0
    default: graded = 0
    }
    return isBinary ? (graded == 1 ? 1 : 0) : graded
  }

  /// F1 of two sets of arguments: an equal value counts 1, another value under the same key 1/2.
  static func f1(_ a: [String: JSONValue], _ b: [String: JSONValue]) -> Double {
    guard !(a.isEmpty && b.isEmpty) else { return 1 }
    var credit = 0.0
    for (key, value) in b {
      if let other = a[key] { credit += other == value ? 1 : 0.5 }
    }
    return 2 * credit / Double(a.count + b.count)
  }

  /// ROUGE-L: the F1 of the longest common subsequence of words. Of longer texts the first 1000 words are compared.
  static func rougeL(_ a: String, _ b: String) -> Double {
    let x = a.utf8.split(whereSeparator: isSpace).prefix(1000).map(Array.init)
    let y = b.utf8.split(whereSeparator: isSpace).prefix(1000).map(Array.init)
    // row[j]: the longest for what was read of x and the first j words of y.
    var row = [Int](repeating: 0, count: y.count + 1)
    for word in x {
      var diagonal = 0
      for j in y.indices {
        let above = row[j + 1]
        row[j + 1] = word == y[j] ? diagonal + 1 : max(above, row[j])
        diagonal = above
      }
    }
    return x.isEmpty && y.isEmpty ? 1 : 2 * Double(row[y.count]) / Double(x.count + y.count)
  }

  static func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || (0x09...0x0D).contains(byte) }

  static func first(_ word: String, in text: ArraySlice<UInt8>) -> Int? {
    let word = Array(word.utf8)
    return text.indices.first { text[$0] == word[0] && text[$0...].starts(with: word) }
  }

  static func last(_ word: String, in text: ArraySlice<UInt8>) -> Int? {
    let word = Array(word.utf8)
    return text.indices.last { text[$0] == word[0] && text[$0...].starts(with: word) }
  }
}

/// The last action of a text.
struct Step {
  /// nil if there is none.
  var action: String?
  var input = "{}"

  init(_ text: ArraySlice<UInt8>) {
    guard let place = React.last("Action:", in: text) else { return }
    var rest = text[(place + "Action:".utf8.count)...]
    // What the agent invents as the tool's answer is not its step.
    if let observation = React.first("Observation:", in: rest) { rest = rest[..<observation] }
    let place2 = React.first("Action Input:", in: rest)
    action = Self.trimmed(rest[..<(place2 ?? rest.endIndex)])
    if let place2 { input = Self.trimmed(rest[(place2 + "Action Input:".utf8.count)...]) }
    if input.isEmpty { input = "{}" }
  }

  private static func trimmed(_ text: ArraySlice<UInt8>) -> String {
    var text = text.drop(while: React.isSpace)
    while let last = text.last, React.isSpace(last) { text.removeLast() }
    return String(decoding: text, as: UTF8.self)
  }
}

/// Any JSON value; 1 and 1.0 are equal.
enum JSONValue: Decodable, Hashable {
  case null
  case bool(Bool)
  case number(Double)
  case string(String)
  case list([JSONValue])
  case object([String: JSONValue])

  init?(parsing text: String) {
    guard let value = try? JSONDecoder().decode(JSONValue.self, from: Data(text.utf8)) else { return nil }
    self = value
  }

  init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    if let text = try? container.decode(String.self) {
      self = .string(text)
    } else if let number = try? container.decode(Double.self) {
      self = .number(number)
    } else if let bool = try? container.decode(Bool.self) {
      self = .bool(bool)
    } else if container.decodeNil() {
      self = .null
    } else if let list = try? container.decode([JSONValue].self) {
      self = .list(list)
    } else {
      self = .object(try container.decode([String: JSONValue].self))
    }
  }
}

@c(attune_reward_entry) public func entry() -> RewardLibrary { rewards(React.self) }

"""##

  /// rewards/reasoning_steps/reasoning_steps.swift
  static let file11 = ##"""
import RewardKit

/// Counts what looks like the steps of a solution. It is here as an example of a reward that a policy learns to hack: see
/// the README before using it.
///
/// A marker is `Step 3:`, a line that begins with `3.`, `-` or `*`, or one of `First,` `Second,` `Next,` `Finally,`. The
/// score is the number of markers over `target`, at most 1.
struct ReasoningSteps: Reward {
  static let summary = "step markers over 3, at most 1: easily hacked, an example of what not to trust"
  static let range: ClosedRange<Double>? = 0...1
  static let parameters: [Parameter] = [
    .number("target", default: 3, in: 1...1000, "how many markers score 1")
  ]

  private var target = 3.0

  mutating func configure(_ parameters: Parameters) throws { target = parameters.number("target") ?? target }

  func score(_ sample: Sample) -> Score {
    let count = Double(Self.markers(in: Array(sample.completion.utf8)))
    return Score(min(1, count / target), components: ["markers": count], log: "\(Int(count)) step markers")
  }

  private static let words = ["First,", "Second,", "Next,", "Finally,"].map { Array($0.utf8) }

  static func markers(in text: [UInt8]) -> Int {
    var count = 0
    var i = 0
    while i < text.count {
      let beginsLine = i == 0 || text[i - 1] == 0x0A
      if beginsLine, text[i] == UInt8(ascii: "-") || text[i] == UInt8(ascii: "*") {
        count += 1
      } else if beginsLine, let end = digits(text, from: i), end < text.count, text[end] == UInt8(ascii: ".") {
        count += 1
        i = end
      } else if text[i...].starts(with: "Step ".utf8), let end = digits(text, from: i + 5), end < text.count,
        text[end] == UInt8(ascii: ":")
      {
        count += 1
        i = end
      } else if let word = words.first(where: { text[i...].starts(with: $0) }) {
        count += 1
        i += word.count - 1
      }
      i += 1
    }
    return count
  }

  /// Behind the digits at a place, or nil if there are none.
  private static func digits(_ text: [UInt8], from start: Int) -> Int? {
    var end = start
    while end < text.count, (0x30...0x39).contains(text[end]) { end += 1 }
    return end > start ? end : nil
  }
}

@c(attune_reward_entry) public func entry() -> RewardLibrary { rewards(ReasoningSteps.self) }

"""##

  /// rewards/tool_use/tool_use.swift
  static let file12 = ##"""
import Foundation
import RewardKit

/// Format, correctness and length of an answer that calls tools (ToolRL, arXiv 2504.13958).
///
/// An answer is `<think>..</think>`, then what its reference has of `<tool_call>..</tool_call>` (JSON objects with `name` and
/// `parameters` or `arguments`, one a line) and `<response>..</response>`. The score is the weighted sum of three parts,
/// each between bounds of its own that may change while the training goes on.
struct ToolUse: Reward {
  static let summary = "format, correct tool calls and length of thought, with bounds that may follow the training step"
  static let parameters: [Parameter] = [
    .number("format_weight", default: 1, "weight of the format in the score"),
    .number("correctness_weight", default: 1, "weight of the tool calls' correctness"),
    .number("length_weight", default: 0, "weight of the thought's length"),
    .number("format_min", default: 0), .number("format_max", default: 1),
    .number("correctness_min", default: -3), .number("correctness_max", default: 3),
    .number("length_min", default: 0), .number("length_max", default: 1),
    .number("length_words", default: 512, in: 1...1e6, "a thought of so many words has the whole length_max"),
    .string(
      "schedule", default: "none",
      "none; linear: format and correctness begin at -start to start and reach their bounds at the end; two_stage: correctness "
        + "divided by 3 before switch_step, format by 2 from then on"),
    .number("start", default: 2, in: 0...1000, "for linear: the bounds at the first step"),
    .number("schedule_steps", default: 0, in: 0...1e9, "for linear: its length, 0 for the run's"),
    .number("switch_step", default: 30, in: 0...1e9, "for two_stage"),
    .bool("prefix", default: true, "the answer begins with what the template opened the completion with"),
  ]

  private struct Bounds {
    var low = 0.0
    var high = 1.0
    func value(_ share: Double) -> Double { low + (high - low) * share }
    /// From -start ... start (share 0) to these (share 1).
    func coming(from start: Double, _ share: Double) -> Bounds {
      Bounds(low: -start + (low + start) * share, high: start + (high - start) * share)
    }
    func divided(by divisor: Double) -> Bounds { Bounds(low: low / divisor, high: high / divisor) }
  }

  private enum Schedule: String { case none, linear, twoStage = "two_stage" }

  private var weights = (format: 1.0, correctness: 1.0, length: 0.0)
  private var format = Bounds()
  private var correctness = Bounds()
  private var length = Bounds()
  private var lengthWords = 512.0
  private var schedule = Schedule.none
  private var start = 2.0
  private var scheduleSteps = 0.0
  private var switchStep = 30.0
  private var includesPrefix = true

  mutating func configure(_ parameters: Parameters) throws {
    func number(_ name: String) -> Double { parameters.number(name) ?? 0 }
    func bounds(_ name: String) throws -> Bounds {
      let bounds = Bounds(low: number(name + "_min"), high: number(name + "_max"))
      guard bounds.low <= bounds.high else {
        throw RewardError.invalid("\(name)_min is \(bounds.low), more than \(name)_max, which is \(bounds.high)")
      }
      return bounds
    }
    weights = (number("format_weight"), number("correctness_weight"), number("length_weight"))
    format = try bounds("format")
    correctness = try bounds("correctness")
    length = try bounds("length")
    lengthWords = number("length_words")
    let word = parameters.string("schedule") ?? "none"
    guard let schedule = Schedule(rawValue: word) else {
      throw RewardError.invalid("schedule is '\(word)', expected none, linear or two_stage")
    }
    self.schedule = schedule
    start = number("start")
    scheduleSteps = number("schedule_steps")
    switchStep = number("switch_step")
    includesPrefix = parameters.bool("prefix") ?? true
  }

  func score(_ sample: Sample) throws -> Score {
    guard let reference = sample.reference else { return Score(nil, log: "no reference") }
    let wanted = Answer(reference)
    let answer = Answer((includesPrefix ? sample.generationPrefix : "") + sample.completion)
    var (format, correctness) = (self.format, self.correctness)
    switch schedule {
    case .none: break
    case .linear:
      let steps = scheduleSteps > 0 ? scheduleSteps : Double(sample.totalSteps)
      guard steps > 0 else { throw RewardError("how long the run is is not known: set schedule_steps") }
      let share = min(1, Double(sample.step) / steps)
      format = format.coming(from: start, share)
      correctness = correctness.coming(from: start, share)
    case .twoStage:
      if Double(sample.step) < switchStep {
        correctness = correctness.divided(by: 3)
      } else {
        format = format.divided(by: 2)
      }
    }

    let wellFormed = answer.hasFormat(toolCall: wanted.has("tool_call"), response: wanted.has("response"))
    let thought = answer.spans("think").last?.split(whereSeparator: Answer.isSpace).count
    let parts = (
      format: format.value(wellFormed ? 1 : 0),
      length: length.value(thought.map { min(1, Double($0) / lengthWords) } ?? 0)
    )
    var score = Score(
      weights.format * parts.format + weights.length * parts.length,
      components: ["format": parts.format, "length": parts.length],
      log: "\(wellFormed ? "well formed" : "not the reference's form"), \(thought ?? 0) words of thought")
    // A reference without a call has nothing to be correct about.
    guard wanted.has("tool_call") else { return score }
    guard let wantedCalls = wanted.calls() else { throw RewardError.invalid("the reference's tool calls are no JSON") }
    let calls = answer.calls()
    let value = correctness.value(calls.map { ToolCall.agreement($0, wantedCalls) } ?? 0)
    score.value = (score.value ?? 0) + weights.correctness * value
    score.components.append((name: "correctness", value: value))
    score.log += calls.map { ", \($0.count) calls for \(wantedCalls.count)" } ?? ", no calls in JSON"
    return score
  }
}

/// A text with spans in tags.
struct Answer {
  private let text: [UInt8]
  init(_ text: String) { self.text = Array(text.utf8) }

  static func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || (0x09...0x0D).contains(byte) }

  /// The next `<tag>`..`</tag>` at or behind a place.
  private func span(_ tag: String, from start: Int) -> (outer: Range<Int>, inner: Range<Int>)? {
    let open = Array("<\(tag)>".utf8)
    let close = Array("</\(tag)>".utf8)
    func next(_ word: [UInt8], _ from: Int) -> Int? {
      text[from...].indices.first { text[$0] == word[0] && text[$0...].starts(with: word) }
    }
    guard let first = next(open, start), let end = next(close, first + open.count) else { return nil }
    return (first..<(end + close.count), (first + open.count)..<end)
  }

  /// What stands in all spans of a tag.
  func spans(_ tag: String) -> [ArraySlice<UInt8>] {
    var found: [ArraySlice<UInt8>] = []
    var place = 0
    while let next = span(tag, from: place) {
      found.append(text[next.inner])
      place = next.outer.upperBound
    }
    return found
  }

  func has(_ tag: String) -> Bool { span(tag, from: 0) != nil }

  /// A thought, then calls (one span or several) and a response where they are wanted, and nothing else.
  func hasFormat(toolCall: Bool, response: Bool) -> Bool {
    var place = 0
    func takes(_ tag: String) -> Bool {
      guard let next = span(tag, from: place), text[place..<next.outer.lowerBound].allSatisfy(Self.isSpace) else {
        return false
      }
      place = next.outer.upperBound
      return true
    }
    guard text.starts(with: "<think>".utf8), takes("think") else { return false }
    if toolCall {
      guard takes("tool_call") else { return false }
      while takes("tool_call") {}
    }
    if response, !takes("response") { return false }
    return text[place...].allSatisfy(Self.isSpace)
  }

  /// All calls; nil if there is no span of them, or one that cannot be read.
  func calls() -> [ToolCall]? {
    let spans = spans("tool_call")
    guard !spans.isEmpty else { return nil }
    var calls: [ToolCall] = []
    for span in spans {
      if let call = ToolCall.read(span) {
        calls.append(call)
        continue
      }
      for line in span.split(separator: 0x0A) where !line.allSatisfy(Self.isSpace) {
        guard let call = ToolCall.read(line) else { return nil }
        calls.append(call)
      }
    }
    return calls
  }
}

struct ToolCall: Decodable {
  let name: String
  let parameters: [String: JSONValue]

  private enum Key: String, CodingKey { case name, parameters, arguments }

  init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: Key.self)
    name = try container.decode(String.self, forKey: .name)
    parameters =
      try container.decodeIfPresent([String: JSONValue].self, forKey: .parameters)
      ?? container.decodeIfPresent([String: JSONValue].self, forKey: .arguments) ?? [:]
  }

  static func read(_ text: ArraySlice<UInt8>) -> ToolCall? {
    try? JSONDecoder().decode(ToolCall.self, from: Data(text))
  }

  /// From 0 to 1: the names as multisets, and for every wanted call, paired with the best that is left, its keys and the
  /// values that are equal.
  static func agreement(_ calls: [ToolCall], _ wanted: [ToolCall]) -> Double {
    var points = overlap(calls.map(\.name), wanted.map(\.name))
    var most = 1.0
    var left = calls
    for want in wanted {
      most += 1 + Double(want.parameters.count)
      var best: (points: Double, index: Int) = (0, -1)
      for (i, call) in left.enumerated() where call.name == want.name {
        let equal = want.parameters.count { call.parameters[$0.key] == $0.value }
        let points = overlap(Array(call.parameters.keys), Array(want.parameters.keys)) + Double(equal)
        if points > best.points { best = (points, i) }
      }
      guard best.index >= 0 else { continue }
      points += best.points
      left.remove(at: best.index)
    }
    return points / most
  }

  /// Intersection over union of two multisets, 1 for two that are empty.
  private static func overlap(_ a: [String], _ b: [String]) -> Double {
    var left: [String: Int] = [:]
    for name in a { left[name, default: 0] += 1 }
    var common = 0
    for name in b {
      guard let count = left[name], count > 0 else { continue }
      left[name] = count - 1
      common += 1
    }
    let union = a.count + b.count - common
    return union == 0 ? 1 : Double(common) / Double(union)
  }
}

/// Any JSON value; 1 and 1.0 are equal.
enum JSONValue: Decodable, Hashable {
  case null
  case bool(Bool)
  case number(Double)
  case string(String)
  case list([JSONValue])
  case object([String: JSONValue])

  init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    if let text = try? container.decode(String.self) {
      self = .string(text)
    } else if let number = try? container.decode(Double.self) {
      self = .number(number)
    } else if let bool = try? container.decode(Bool.self) {
      self = .bool(bool)
    } else if container.decodeNil() {
      self = .null
    } else if let list = try? container.decode([JSONValue].self) {
      self = .list(list)
    } else {
      self = .object(try container.decode([String: JSONValue].self))
    }
  }
}

@c(attune_reward_entry) public func entry() -> RewardLibrary { rewards(ToolUse.self) }

"""##

  static let sources: [(name: String, path: String, text: String)] = [
    ("attune_reward.h", "Sources/CRewardABI/include/attune_reward.h", file0),
    ("Library.swift", "Sources/RewardKit/Library.swift", file1),
    ("Parameters.swift", "Sources/RewardKit/Parameters.swift", file2),
    ("Reward.swift", "Sources/RewardKit/Reward.swift", file3),
    ("Sample.swift", "Sources/RewardKit/Sample.swift", file4),
    ("Score.swift", "Sources/RewardKit/Score.swift", file5),
  ]
  static let plugins: [(name: String, path: String, text: String)] = [
    ("answer_format.swift", "rewards/answer_format/answer_format.swift", file6),
    ("f1.swift", "rewards/f1/f1.swift", file7),
    ("fuzzy_match.swift", "rewards/fuzzy_match/fuzzy_match.swift", file8),
    ("group_length.swift", "rewards/group_length/group_length.swift", file9),
    ("react.swift", "rewards/react/react.swift", file10),
    ("reasoning_steps.swift", "rewards/reasoning_steps/reasoning_steps.swift", file11),
    ("tool_use.swift", "rewards/tool_use/tool_use.swift", file12),
  ]
}
