// libpng reports errors by longjmp, which must never cross a Swift frame: every call that can fail stays inside one
// of the functions below, which free what they took and answer with a status and a sentence.
#pragma once
#include <png.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef enum attune_png_status {
  ATTUNE_PNG_OK = 0,
  ATTUNE_PNG_BROKEN = 1,    // not a PNG file, or one whose content contradicts itself
  ATTUNE_PNG_TRUNCATED = 2  // the bytes end before the picture does
} attune_png_status;

typedef enum attune_png_layout {
  ATTUNE_PNG_RGB8 = 0,        // 3 bytes a pixel, alpha dropped, 16-bit samples by their high byte
  ATTUNE_PNG_RGBA8 = 1,       // 4 bytes a pixel, tRNS expanded
  ATTUNE_PNG_GREY16 = 2,      // 2 bytes a pixel, big endian; of 16-bit grey files only
  ATTUNE_PNG_GREY16_KEY = 3   // 4 bytes a pixel: grey and alpha (from the tRNS key), both big endian
} attune_png_layout;

typedef struct attune_png_header {
  uint32_t width, height;
  int32_t bit_depth, color_type;  // as in the IHDR chunk
  bool has_transparency;          // an alpha channel or a tRNS chunk
  bool has_transparent_color;     // transparent_color is one
  uint8_t transparent_color[3];   // as attune_png_find_transparent_color says
} attune_png_header;

typedef struct attune_png_context {
  const uint8_t *bytes;  // reading: the file, borrowed
  size_t count, at;
  uint8_t *output;       // writing: grown by realloc
  size_t output_count, output_capacity;
  bool truncated;
  char text[256];
} attune_png_context;

static inline void attune_png_fail(png_structp png, png_const_charp message) {
  attune_png_context *context = (attune_png_context *)png_get_error_ptr(png);
  snprintf(context->text, sizeof context->text, "%s", message);
  png_longjmp(png, 1);
}

static inline void attune_png_ignore(png_structp png, png_const_charp message) {
  (void)png;
  (void)message;
}

static inline void attune_png_read_bytes(png_structp png, png_bytep out, size_t size) {
  attune_png_context *context = (attune_png_context *)png_get_io_ptr(png);
  if (size > context->count - context->at) {
    context->truncated = true;
    png_error(png, "the file ends early");
  }
  memcpy(out, context->bytes + context->at, size);
  context->at += size;
}

static inline void attune_png_write_bytes(png_structp png, png_bytep bytes, size_t size) {
  attune_png_context *context = (attune_png_context *)png_get_io_ptr(png);
  if (size > context->output_capacity - context->output_count) {
    size_t capacity = context->output_capacity * 2 + size + 4096;
    uint8_t *grown = (uint8_t *)realloc(context->output, capacity);
    if (grown == NULL) png_error(png, "out of memory");
    context->output = grown;
    context->output_capacity = capacity;
  }
  memcpy(context->output + context->output_count, bytes, size);
  context->output_count += size;
}

static inline void attune_png_flush_nothing(png_structp png) { (void)png; }

// The colour that Pillow takes for transparent in what it has made RGB, or false if there is none. It knows one for pictures
// without an alpha channel and for palettes in which one entry is clear and all others are opaque; it compares 8-bit levels
// with the low bytes of the chunk's samples, however deep the picture is, and of bilevel and 16-bit grey with red alone.
static inline bool attune_png_find_transparent_color(png_structp png, png_infop info, uint8_t color[3]) {
  png_bytep alphas = NULL;
  png_color_16p key = NULL;
  int count = 0;
  if (png_get_tRNS(png, info, &alphas, &count, &key) == 0) return false;
  int color_type = png_get_color_type(png, info), bit_depth = png_get_bit_depth(png, info);
  if (color_type == PNG_COLOR_TYPE_PALETTE) {
    png_colorp palette = NULL;
    int entries = 0, clear = -1;
    for (int i = 0; i < count; i++) {
      if (alphas[i] == 255) continue;
      if (alphas[i] != 0 || clear >= 0) return false;
      clear = i;
    }
    png_get_PLTE(png, info, &palette, &entries);
    if (clear < 0 || clear >= entries) return false;
    color[0] = palette[clear].red;
    color[1] = palette[clear].green;
    color[2] = palette[clear].blue;
    return true;
  }
  if (color_type == PNG_COLOR_TYPE_RGB) {
    color[0] = (uint8_t)key->red;
    color[1] = (uint8_t)key->green;
    color[2] = (uint8_t)key->blue;
    return true;
  }
  if (color_type != PNG_COLOR_TYPE_GRAY) return false;
  if (bit_depth == 1 || bit_depth == 16) {
    // (level, 0, 0): of greys black alone.
    color[0] = color[1] = color[2] = 0;
    return bit_depth == 1 ? key->gray == 0 : (key->gray & 255) == 0;
  }
  color[0] = color[1] = color[2] = key->gray > 255 ? 255 : (uint8_t)key->gray;
  return true;
}

static inline attune_png_status attune_png_status_of(const attune_png_context *context, char *error, size_t capacity) {
  snprintf(error, capacity, "%s", context->text[0] ? context->text : "out of memory");
  return context->truncated ? ATTUNE_PNG_TRUNCATED : ATTUNE_PNG_BROKEN;
}

// Reads the header; with `pixels` also the picture, in `layout`, rows of `stride` bytes, for exactly the size that
// `header` holds on entry (an earlier call's answer). `error` receives a sentence when the status is not OK.
static inline __attribute__((noinline)) attune_png_status attune_png_read(
    attune_png_header *header, uint8_t *pixels, size_t stride, attune_png_layout layout, const uint8_t *bytes,
    size_t count, uint32_t largest_side, char *error, size_t error_capacity) {
  // Ancillary chunks that cannot change a pixel here: skipped, so that a broken one costs nothing.
  static const png_byte skipped[] =
      "bKGD\0cHRM\0eXIf\0gAMA\0hIST\0iCCP\0iTXt\0oFFs\0pCAL\0pHYs\0sBIT\0sCAL\0sPLT\0sRGB\0tEXt\0tIME\0zTXt";
  attune_png_context context;
  memset(&context, 0, sizeof context);
  context.bytes = bytes;
  context.count = count;
  png_structp png =
      png_create_read_struct(PNG_LIBPNG_VER_STRING, &context, attune_png_fail, attune_png_ignore);
  png_infop volatile info = png ? png_create_info_struct(png) : NULL;
  if (info == NULL) {
    png_destroy_read_struct(png ? &png : NULL, NULL, NULL);
    return attune_png_status_of(&context, error, error_capacity);
  }
  if (setjmp(png_jmpbuf(png))) {
    png_infop made = info;
    png_destroy_read_struct(&png, &made, NULL);
    return attune_png_status_of(&context, error, error_capacity);
  }
  png_set_read_fn(png, &context, attune_png_read_bytes);
  png_set_user_limits(png, largest_side, largest_side);
#ifdef PNG_HANDLE_AS_UNKNOWN_SUPPORTED
  png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, skipped, (int)(sizeof skipped / 5));
#endif
  png_read_info(png, info);
  uint32_t width = png_get_image_width(png, info), height = png_get_image_height(png, info);
  int color_type = png_get_color_type(png, info), bit_depth = png_get_bit_depth(png, info);
  bool transparent = (color_type & PNG_COLOR_MASK_ALPHA) != 0 || png_get_valid(png, info, PNG_INFO_tRNS) != 0;
  if (pixels == NULL) {
    header->width = width;
    header->height = height;
    header->bit_depth = bit_depth;
    header->color_type = color_type;
    header->has_transparency = transparent;
    header->has_transparent_color = attune_png_find_transparent_color(png, info, header->transparent_color);
  } else {
    if (width != header->width || height != header->height) png_error(png, "the header changed while reading");
    if (layout == ATTUNE_PNG_GREY16 || layout == ATTUNE_PNG_GREY16_KEY) {
      if (color_type != PNG_COLOR_TYPE_GRAY || bit_depth != 16) png_error(png, "not 16-bit grey");
      if (layout == ATTUNE_PNG_GREY16_KEY) png_set_tRNS_to_alpha(png);
    } else {
      if (color_type == PNG_COLOR_TYPE_PALETTE) png_set_palette_to_rgb(png);
      if (color_type == PNG_COLOR_TYPE_GRAY && bit_depth < 8) png_set_expand_gray_1_2_4_to_8(png);
      if (layout == ATTUNE_PNG_RGBA8 && png_get_valid(png, info, PNG_INFO_tRNS)) png_set_tRNS_to_alpha(png);
      if (bit_depth == 16) png_set_strip_16(png);
      if (!(color_type & PNG_COLOR_MASK_COLOR)) png_set_gray_to_rgb(png);
      if (layout == ATTUNE_PNG_RGB8) {
        if (transparent) png_set_strip_alpha(png);
      } else {
        png_set_add_alpha(png, 0xFF, PNG_FILLER_AFTER);
      }
    }
    int passes = png_set_interlace_handling(png);
    png_read_update_info(png, info);
    if (png_get_rowbytes(png, info) != stride) png_error(png, "rows of an unexpected length");
    for (int pass = 0; pass < passes; pass++)
      for (uint32_t row = 0; row < height; row++) png_read_row(png, pixels + stride * row, NULL);
    png_read_end(png, NULL);
  }
  png_infop made = info;
  png_destroy_read_struct(&png, &made, NULL);
  return ATTUNE_PNG_OK;
}

// Writes 8-bit RGB rows without gaps. `*output` is the caller's to free() when the status is OK.
static inline __attribute__((noinline)) attune_png_status attune_png_write(
    uint8_t **output, size_t *output_count, const uint8_t *pixels, uint32_t width, uint32_t height, char *error,
    size_t error_capacity) {
  attune_png_context context;
  memset(&context, 0, sizeof context);
  png_structp png =
      png_create_write_struct(PNG_LIBPNG_VER_STRING, &context, attune_png_fail, attune_png_ignore);
  png_infop volatile info = png ? png_create_info_struct(png) : NULL;
  if (info == NULL) {
    png_destroy_write_struct(png ? &png : NULL, NULL);
    return attune_png_status_of(&context, error, error_capacity);
  }
  if (setjmp(png_jmpbuf(png))) {
    png_infop made = info;
    png_destroy_write_struct(&png, &made);
    free(context.output);
    return attune_png_status_of(&context, error, error_capacity);
  }
  png_set_write_fn(png, &context, attune_png_write_bytes, attune_png_flush_nothing);
  png_set_IHDR(
      png, info, width, height, 8, PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
      PNG_FILTER_TYPE_DEFAULT);
  // All fixed, so that a picture always becomes the same bytes.
  png_set_compression_level(png, 6);
  png_set_compression_mem_level(png, 8);
  png_set_compression_window_bits(png, 15);
  png_set_compression_strategy(png, 1);
  png_set_filter(png, 0, PNG_ALL_FILTERS);
  png_write_info(png, info);
  for (uint32_t row = 0; row < height; row++) png_write_row(png, pixels + (size_t)width * 3 * row);
  png_write_end(png, NULL);
  png_infop made = info;
  png_destroy_write_struct(&png, &made);
  *output = context.output;
  *output_count = context.output_count;
  return ATTUNE_PNG_OK;
}
