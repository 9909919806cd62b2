import Core

/// Pictures to the rows that Qwen's encoder takes: cut into patches, levels turned into values.
struct PatchMatrix {
  let patchSize: Int
  let temporalPatchSize: Int
  let mergeSize: Int
  /// Level to value for each channel, `[3, 256]`.
  let values: [Float]

  /// Values in one row.
  var rowLength: Int { 3 * temporalPatchSize * patchSize * patchSize }

  /// The patches of frames of one size, `[t * h * w, rowLength]`: the patches of each `merge x merge` square next to
  /// each other; within a row channel, frame, line, column. The last frame is repeated to fill its patch.
  ///
  /// - Parameter frames: at least one; both sides are multiples of patch size times merge size.
  func patches(of frames: [Picture]) -> (patches: [Float], grid: PatchGrid) {
    let (width, height) = (frames[0].width, frames[0].height)
    let grid = PatchGrid(
      t: (frames.count + temporalPatchSize - 1) / temporalPatchSize, h: height / patchSize, w: width / patchSize)
    let area = patchSize * patchSize
    let total = grid.patchCount * rowLength
    let patches = [Float](unsafeUninitializedCapacity: total) { target, count in
      values.withUnsafeBufferPointer { values in
        for time in 0..<(grid.t * temporalPatchSize) {
          let frame = frames[min(time, frames.count - 1)]
          precondition(frame.width == width && frame.height == height, "frames of different sizes")
          // Where this frame's part of the first row of its temporal patch begins.
          var row = time / temporalPatchSize * grid.h * grid.w * rowLength + time % temporalPatchSize * area
          frame.pixels.withUnsafeBufferPointer { pixels in
            for block in 0..<(grid.h / mergeSize) {
              for across in 0..<(grid.w / mergeSize) {
                for inner in 0..<(mergeSize * mergeSize) {
                  let y = (block * mergeSize + inner / mergeSize) * patchSize
                  let x = (across * mergeSize + inner % mergeSize) * patchSize
                  for channel in 0..<3 {
                    var at = row + channel * temporalPatchSize * area
                    for line in 0..<patchSize {
                      var from = ((y + line) * width + x) * 3 + channel
                      for _ in 0..<patchSize {
                        target[at] = values[channel &* 256 &+ Int(pixels[from])]
                        at &+= 1
                        from &+= 3
                      }
                    }
                  }
                  row += rowLength
                }
              }
            }
          }
        }
      }
      count = total
    }
    return (patches, grid)
  }
}
