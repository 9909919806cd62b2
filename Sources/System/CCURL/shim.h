#pragma once
#include <curl/curl.h>
#include <dlfcn.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>

// libcurl is opened when the first request is made: with the thirty libraries behind it, it would take as long to load as
// everything else of the program together, and most runs ask nobody. So nothing here links with it.

typedef struct attune_curl {
  CURLcode (*global_init)(long);
  CURL *(*easy_init)(void);
  CURLcode (*easy_setopt)(CURL *, CURLoption, ...);
  CURLcode (*easy_getinfo)(CURL *, CURLINFO, ...);
  CURLcode (*easy_perform)(CURL *);
  void (*easy_reset)(CURL *);
  void (*easy_cleanup)(CURL *);
  const char *(*easy_strerror)(CURLcode);
  struct curl_slist *(*slist_append)(struct curl_slist *, const char *);
  void (*slist_free_all)(struct curl_slist *);
} attune_curl;

// Opens the library, for the life of the process. False: it is not there, or is none.
static inline bool attune_curl_open(attune_curl *curl) {
#if defined(__APPLE__)
  static const char *const names[] = {"/usr/lib/libcurl.4.dylib", "libcurl.4.dylib"};
#else
  static const char *const names[] = {"libcurl.so.4", "libcurl-gnutls.so.4"};
#endif
  void *library = NULL;
  for (size_t i = 0; !library && i < sizeof names / sizeof *names; i++) {
    library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
  }
  if (!library) return false;
  const struct {
    const char *name;
    size_t place;
  } functions[] = {
      {"curl_global_init", offsetof(attune_curl, global_init)}, {"curl_easy_init", offsetof(attune_curl, easy_init)},
      {"curl_easy_setopt", offsetof(attune_curl, easy_setopt)}, {"curl_easy_getinfo", offsetof(attune_curl, easy_getinfo)},
      {"curl_easy_perform", offsetof(attune_curl, easy_perform)}, {"curl_easy_reset", offsetof(attune_curl, easy_reset)},
      {"curl_easy_cleanup", offsetof(attune_curl, easy_cleanup)},
      {"curl_easy_strerror", offsetof(attune_curl, easy_strerror)},
      {"curl_slist_append", offsetof(attune_curl, slist_append)},
      {"curl_slist_free_all", offsetof(attune_curl, slist_free_all)},
  };
  for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
    void *function = dlsym(library, functions[i].name);
    if (!function) return false;
    *(void **)((char *)curl + functions[i].place) = function;
  }
  return curl->global_init(CURL_GLOBAL_ALL) == CURLE_OK;
}

// Variadic functions, which Swift does not import.

static inline CURLcode attune_curl_set_long(attune_curl curl, CURL *handle, CURLoption option, long value) {
  return curl.easy_setopt(handle, option, value);
}

static inline CURLcode attune_curl_set_text(attune_curl curl, CURL *handle, CURLoption option, const char *value) {
  return curl.easy_setopt(handle, option, value);
}

// `size` bytes of body, not copied: they have to stay until the request is over.
static inline CURLcode attune_curl_set_body(attune_curl curl, CURL *handle, const void *bytes, size_t size) {
  CURLcode code = curl.easy_setopt(handle, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)size);
  return code == CURLE_OK ? curl.easy_setopt(handle, CURLOPT_POSTFIELDS, bytes) : code;
}

static inline CURLcode attune_curl_set_headers(attune_curl curl, CURL *handle, struct curl_slist *list) {
  return curl.easy_setopt(handle, CURLOPT_HTTPHEADER, list);
}

typedef size_t (*attune_curl_sink)(char *bytes, size_t size, size_t count, void *context);

// Where the answer's body and its header lines go.
static inline CURLcode attune_curl_set_sinks(attune_curl curl, CURL *handle, attune_curl_sink body,
                                             attune_curl_sink header, void *context) {
  CURLcode code = curl.easy_setopt(handle, CURLOPT_WRITEFUNCTION, body);
  if (code == CURLE_OK) code = curl.easy_setopt(handle, CURLOPT_WRITEDATA, context);
  if (code == CURLE_OK) code = curl.easy_setopt(handle, CURLOPT_HEADERFUNCTION, header);
  return code == CURLE_OK ? curl.easy_setopt(handle, CURLOPT_HEADERDATA, context) : code;
}

static inline long attune_curl_status(attune_curl curl, CURL *handle) {
  long status = 0;
  curl.easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &status);
  return status;
}

// Performs the request. A connection that the other side closed may raise SIGPIPE in this thread: it is held back and
// taken away, so that the process needs no handler.
static inline CURLcode attune_curl_perform(attune_curl curl, CURL *handle) {
  sigset_t pipe, before, pending;
  sigemptyset(&pipe);
  sigaddset(&pipe, SIGPIPE);
  pthread_sigmask(SIG_BLOCK, &pipe, &before);
  CURLcode code = curl.easy_perform(handle);
  if (!sigismember(&before, SIGPIPE) && sigpending(&pending) == 0 && sigismember(&pending, SIGPIPE)) {
    int taken;
    sigwait(&pipe, &taken);
  }
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  return code;
}
