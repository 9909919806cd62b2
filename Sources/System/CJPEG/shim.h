// libjpeg reports errors through a function that must not return, so by longjmp, which must never cross a Swift frame:
// every call that can fail stays inside the one function below, which frees what it took and answers with a status
// and a sentence.
#pragma once
#include <stdio.h>
#include <jpeglib.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef enum attune_jpeg_status {
  ATTUNE_JPEG_OK = 0,
  ATTUNE_JPEG_BROKEN = 1,    // not a JPEG file, or of a kind that the library does not read
  ATTUNE_JPEG_TRUNCATED = 2  // the bytes end before the end-of-image marker
} attune_jpeg_status;

typedef struct attune_jpeg_header {
  uint32_t width, height;
  int32_t components;  // 1 grey, 3 YCbCr or RGB, 4 CMYK or YCCK
} attune_jpeg_header;

// More scans than any encoder writes; a hostile progressive file repeats them to burn time.
enum { ATTUNE_JPEG_MOST_SCANS = 500 };

typedef struct attune_jpeg_context {
  struct jpeg_error_mgr errors;
  struct jpeg_source_mgr source;
  struct jpeg_progress_mgr progress;
  jmp_buf jump;
  bool truncated;
  char text[JMSG_LENGTH_MAX];
} attune_jpeg_context;

static inline void attune_jpeg_stop(j_common_ptr jpeg, const char *text) {
  attune_jpeg_context *context = (attune_jpeg_context *)jpeg->client_data;
  snprintf(context->text, sizeof context->text, "%s", text);
  longjmp(context->jump, 1);
}

static inline void attune_jpeg_fail(j_common_ptr jpeg) {
  attune_jpeg_context *context = (attune_jpeg_context *)jpeg->client_data;
  jpeg->err->format_message(jpeg, context->text);
  longjmp(context->jump, 1);
}

// Warnings (stray bytes, a damaged stretch) leave a picture, and the field's other readers take it.
static inline void attune_jpeg_ignore(j_common_ptr jpeg, int level) {
  (void)jpeg;
  (void)level;
}

static inline void attune_jpeg_nothing(j_decompress_ptr jpeg) { (void)jpeg; }

static inline boolean attune_jpeg_no_more(j_decompress_ptr jpeg) {
  ((attune_jpeg_context *)jpeg->client_data)->truncated = true;
  attune_jpeg_stop((j_common_ptr)jpeg, "the file ends early");
  return FALSE;
}

static inline void attune_jpeg_skip(j_decompress_ptr jpeg, long count) {
  if (count <= 0) return;
  if ((size_t)count > jpeg->src->bytes_in_buffer) attune_jpeg_no_more(jpeg);
  jpeg->src->next_input_byte += count;
  jpeg->src->bytes_in_buffer -= (size_t)count;
}

static inline void attune_jpeg_count_scans(j_common_ptr jpeg) {
  if (((j_decompress_ptr)jpeg)->input_scan_number > ATTUNE_JPEG_MOST_SCANS)
    attune_jpeg_stop(jpeg, "more than 500 scans");
}

// Reads the header; with `pixels` also the picture, for exactly the size that `header` holds on entry (an earlier
// call's answer): 4 bytes a pixel as stored for four components, else 3 bytes RGB. The accurate integer transform and
// triangle upsampling, always. `error` receives a sentence when the status is not OK.
static inline __attribute__((noinline)) attune_jpeg_status attune_jpeg_read(
    attune_jpeg_header *header, uint8_t *pixels, const uint8_t *bytes, size_t count, char *error,
    size_t error_capacity) {
  attune_jpeg_context context;
  struct jpeg_decompress_struct jpeg;
  memset(&context, 0, sizeof context);
  memset(&jpeg, 0, sizeof jpeg);
  jpeg.err = jpeg_std_error(&context.errors);
  context.errors.error_exit = attune_jpeg_fail;
  context.errors.emit_message = attune_jpeg_ignore;
  jpeg.client_data = &context;
  if (setjmp(context.jump)) {
    jpeg_destroy_decompress(&jpeg);
    snprintf(error, error_capacity, "%s", context.text);
    return context.truncated ? ATTUNE_JPEG_TRUNCATED : ATTUNE_JPEG_BROKEN;
  }
  jpeg_create_decompress(&jpeg);
  context.source.next_input_byte = bytes;
  context.source.bytes_in_buffer = count;
  context.source.init_source = attune_jpeg_nothing;
  context.source.fill_input_buffer = attune_jpeg_no_more;
  context.source.skip_input_data = attune_jpeg_skip;
  context.source.resync_to_restart = jpeg_resync_to_restart;
  context.source.term_source = attune_jpeg_nothing;
  jpeg.src = &context.source;
  context.progress.progress_monitor = attune_jpeg_count_scans;
  jpeg.progress = &context.progress;
  jpeg_read_header(&jpeg, TRUE);
  if (pixels == NULL) {
    header->width = jpeg.image_width;
    header->height = jpeg.image_height;
    header->components = jpeg.num_components;
  } else {
    if (jpeg.image_width != header->width || jpeg.image_height != header->height
        || jpeg.num_components != header->components)
      attune_jpeg_stop((j_common_ptr)&jpeg, "the header changed while reading");
    jpeg.out_color_space = jpeg.num_components == 4 ? JCS_CMYK : JCS_RGB;
    jpeg.dct_method = JDCT_ISLOW;
    jpeg.do_fancy_upsampling = TRUE;
    jpeg_start_decompress(&jpeg);
    size_t stride = (size_t)header->width * (header->components == 4 ? 4 : 3);
    if ((size_t)jpeg.output_width * (size_t)jpeg.output_components != stride || jpeg.output_height != header->height)
      attune_jpeg_stop((j_common_ptr)&jpeg, "rows of an unexpected length");
    while (jpeg.output_scanline < jpeg.output_height) {
      JSAMPROW row = pixels + stride * jpeg.output_scanline;
      jpeg_read_scanlines(&jpeg, &row, 1);
    }
    jpeg_finish_decompress(&jpeg);
  }
  jpeg_destroy_decompress(&jpeg);
  return ATTUNE_JPEG_OK;
}
