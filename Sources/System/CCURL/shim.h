#pragma once
#include <curl/curl.h>
#include <signal.h>

// Variadic functions and composite macros, which Swift does not import.

static inline CURLcode attune_curl_begin(void) { return curl_global_init(CURL_GLOBAL_ALL); }

static inline CURLcode attune_curl_set_long(CURL *handle, CURLoption option, long value) {
  return curl_easy_setopt(handle, option, value);
}

static inline CURLcode attune_curl_set_text(CURL *handle, CURLoption option, const char *value) {
  return curl_easy_setopt(handle, option, value);
}

// `size` bytes of body, not copied: they have to stay until the request is over.
static inline CURLcode attune_curl_set_body(CURL *handle, const void *bytes, size_t size) {
  CURLcode code = curl_easy_setopt(handle, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)size);
  return code == CURLE_OK ? curl_easy_setopt(handle, CURLOPT_POSTFIELDS, bytes) : code;
}

static inline CURLcode attune_curl_set_headers(CURL *handle, struct curl_slist *list) {
  return curl_easy_setopt(handle, CURLOPT_HTTPHEADER, list);
}

typedef size_t (*attune_curl_sink)(char *bytes, size_t size, size_t count, void *context);

// Where the answer's body and its header lines go.
static inline CURLcode attune_curl_set_sinks(CURL *handle, attune_curl_sink body, attune_curl_sink header,
                                             void *context) {
  CURLcode code = curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, body);
  if (code == CURLE_OK) code = curl_easy_setopt(handle, CURLOPT_WRITEDATA, context);
  if (code == CURLE_OK) code = curl_easy_setopt(handle, CURLOPT_HEADERFUNCTION, header);
  return code == CURLE_OK ? curl_easy_setopt(handle, CURLOPT_HEADERDATA, context) : code;
}

static inline long attune_curl_status(CURL *handle) {
  long status = 0;
  curl_easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &status);
  return status;
}

// Performs the request. A connection that the other side closed may raise SIGPIPE in this thread: it is held back and
// taken away, so that the process needs no handler.
static inline CURLcode attune_curl_perform(CURL *handle) {
  sigset_t pipe, before, pending;
  sigemptyset(&pipe);
  sigaddset(&pipe, SIGPIPE);
  pthread_sigmask(SIG_BLOCK, &pipe, &before);
  CURLcode code = curl_easy_perform(handle);
  if (!sigismember(&before, SIGPIPE) && sigpending(&pending) == 0 && sigismember(&pending, SIGPIPE)) {
    int taken;
    sigwait(&pipe, &taken);
  }
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  return code;
}
