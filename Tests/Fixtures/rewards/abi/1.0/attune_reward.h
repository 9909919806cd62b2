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
