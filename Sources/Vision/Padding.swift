import Core

extension Picture {
  /// This picture inside a canvas of another shape: enlarged or reduced to fit with its proportions, centred, the rest in
  /// one colour. Equal to Pillow's `ImageOps.pad`.
  ///
  /// - Returns: nil where a side of the fitted picture would be less than half a pixel.
  func padded(width: Int, height: Int, color: [UInt8], filter: Resampling = .bicubic) -> Picture? {
    precondition(width > 0 && height > 0 && self.width > 0 && self.height > 0 && color.count == 3)
    let own = Double(self.width) / Double(self.height)
    let wanted = Double(width) / Double(height)
    var (fittedWidth, fittedHeight) = (width, height)
    if own > wanted {
      fittedHeight = Int((Double(self.height) / Double(self.width) * Double(width)).rounded(.toNearestOrEven))
    } else if own < wanted {
      fittedWidth = Int((Double(self.width) / Double(self.height) * Double(height)).rounded(.toNearestOrEven))
    }
    guard fittedWidth > 0, fittedHeight > 0 else { return nil }
    let fitted = filter.resize(self, width: fittedWidth, height: fittedHeight)
    if (fittedWidth, fittedHeight) == (width, height) { return fitted }
    let left = Int((Double(width - fittedWidth) / 2).rounded(.toNearestOrEven))
    // Pillow centres along one axis; along the other the picture fills the canvas.
    let top = fittedWidth == width ? Int((Double(height - fittedHeight) / 2).rounded(.toNearestOrEven)) : 0
    let total = width * height * 3
    let pixels = [UInt8](unsafeUninitializedCapacity: total) { target, count in
      for i in 0..<(width * height) {
        for channel in 0..<3 { target[i * 3 + channel] = color[channel] }
      }
      fitted.pixels.withUnsafeBufferPointer { source in
        for y in 0..<fittedHeight {
          let to = ((top + y) * width + left) * 3
          let from = y * fittedWidth * 3
          for i in 0..<(fittedWidth * 3) { target[to + i] = source[from + i] }
        }
      }
      count = total
    }
    return Picture(width: width, height: height, pixels: pixels)
  }

  /// The part of `width` x `height` pixels whose upper left corner is (`left`, `top`); it lies inside.
  func cropped(left: Int, top: Int, width: Int, height: Int) -> Picture {
    precondition(left >= 0 && top >= 0 && left + width <= self.width && top + height <= self.height)
    var pixels: [UInt8] = []
    pixels.reserveCapacity(width * height * 3)
    for y in top..<(top + height) {
      let start = (y * self.width + left) * 3
      pixels += self.pixels[start..<(start + width * 3)]
    }
    return Picture(width: width, height: height, pixels: pixels)
  }
}
