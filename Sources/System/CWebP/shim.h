// Decoding of WebP files with an answer that says what was wrong; of an animation the first frame, on its canvas.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <webp/decode.h>
#include <webp/demux.h>

typedef enum attune_webp_status {
  ATTUNE_WEBP_OK = 0,
  ATTUNE_WEBP_BROKEN = 1,     // not a WebP file, or one whose content contradicts itself
  ATTUNE_WEBP_TRUNCATED = 2,  // the bytes end before the picture does
  ATTUNE_WEBP_MEMORY = 3
} attune_webp_status;

typedef struct attune_webp_header {
  uint32_t width, height;  // of the canvas, if it is an animation
  bool has_alpha, is_animation;
} attune_webp_header;

static inline attune_webp_status attune_webp_status_of(VP8StatusCode code) {
  switch (code) {
    case VP8_STATUS_OK: return ATTUNE_WEBP_OK;
    case VP8_STATUS_NOT_ENOUGH_DATA:
    case VP8_STATUS_SUSPENDED: return ATTUNE_WEBP_TRUNCATED;
    case VP8_STATUS_OUT_OF_MEMORY: return ATTUNE_WEBP_MEMORY;
    default: return ATTUNE_WEBP_BROKEN;
  }
}

static inline attune_webp_status attune_webp_read_header(
    attune_webp_header *header, const uint8_t *bytes, size_t count) {
  WebPBitstreamFeatures features;
  attune_webp_status status = attune_webp_status_of(WebPGetFeatures(bytes, count, &features));
  if (status != ATTUNE_WEBP_OK) return status;
  if (features.width <= 0 || features.height <= 0) return ATTUNE_WEBP_BROKEN;
  header->width = (uint32_t)features.width;
  header->height = (uint32_t)features.height;
  header->has_alpha = features.has_alpha != 0;
  header->is_animation = features.has_animation != 0;
  return ATTUNE_WEBP_OK;
}

// One still picture of exactly `width` x `height` into rows of `stride` bytes; `pixels` has `capacity` bytes from there.
static inline attune_webp_status attune_webp_decode(
    uint8_t *pixels, size_t capacity, size_t stride, const uint8_t *bytes, size_t count, uint32_t width,
    uint32_t height, int channels) {
  WebPDecoderConfig config;
  if (!WebPInitDecoderConfig(&config)) return ATTUNE_WEBP_BROKEN;
  attune_webp_status status = attune_webp_status_of(WebPGetFeatures(bytes, count, &config.input));
  if (status != ATTUNE_WEBP_OK) return status;
  if ((uint32_t)config.input.width != width || (uint32_t)config.input.height != height) return ATTUNE_WEBP_BROKEN;
  config.output.colorspace = channels == 4 ? MODE_RGBA : MODE_RGB;
  config.output.is_external_memory = 1;
  config.output.u.RGBA.rgba = pixels;
  config.output.u.RGBA.stride = (int)stride;
  config.output.u.RGBA.size = capacity;
  status = attune_webp_status_of(WebPDecode(bytes, count, &config));
  WebPFreeDecBuffer(&config.output);
  return status;
}

// The picture into `pixels`, `header->width * header->height * channels` bytes for the size of an earlier header;
// channels is 3 (alpha ignored) or 4. What an animation's first frame leaves free is 0: black, transparent.
static inline attune_webp_status attune_webp_read(
    uint8_t *pixels, const attune_webp_header *header, int channels, const uint8_t *bytes, size_t count) {
  size_t stride = (size_t)header->width * (size_t)channels, total = stride * header->height;
  if (!header->is_animation)
    return attune_webp_decode(pixels, total, stride, bytes, count, header->width, header->height, channels);
  memset(pixels, 0, total);
  WebPData data = {bytes, count};
  WebPDemuxState state;
  WebPDemuxer *demuxer = WebPDemuxPartial(&data, &state);
  if (demuxer == NULL) return state == WEBP_DEMUX_PARSE_ERROR ? ATTUNE_WEBP_BROKEN : ATTUNE_WEBP_TRUNCATED;
  attune_webp_status status = state == WEBP_DEMUX_DONE ? ATTUNE_WEBP_BROKEN : ATTUNE_WEBP_TRUNCATED;
  WebPIterator frame;
  memset(&frame, 0, sizeof frame);
  if (state == WEBP_DEMUX_DONE && WebPDemuxGetI(demuxer, WEBP_FF_CANVAS_WIDTH) == header->width
      && WebPDemuxGetI(demuxer, WEBP_FF_CANVAS_HEIGHT) == header->height && WebPDemuxGetFrame(demuxer, 1, &frame)) {
    if (frame.x_offset >= 0 && frame.y_offset >= 0 && frame.width > 0 && frame.height > 0
        && (uint32_t)frame.width <= header->width && (uint32_t)frame.x_offset <= header->width - (uint32_t)frame.width
        && (uint32_t)frame.height <= header->height
        && (uint32_t)frame.y_offset <= header->height - (uint32_t)frame.height) {
      size_t start = stride * (size_t)frame.y_offset + (size_t)frame.x_offset * (size_t)channels;
      status = attune_webp_decode(
          pixels + start, total - start, stride, frame.fragment.bytes, frame.fragment.size, (uint32_t)frame.width,
          (uint32_t)frame.height, channels);
    }
    WebPDemuxReleaseIterator(&frame);
  }
  WebPDemuxDelete(demuxer);
  return status;
}
