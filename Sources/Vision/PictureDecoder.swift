import Core

/// PNG, JPEG and WebP bytes to 8-bit RGB, recognised by their content and never by a file's name.
///
/// PNG: every colour type and depth, interlaced or not. JPEG: baseline and progressive, any subsampling, grey, CMYK;
/// the accurate integer transform and triangle upsampling. WebP: lossy and lossless; of an animation the first frame. Gamma and colour profiles are ignored, as by the field's
/// readers. Broken bytes end in an `AttuneError` that names the picture; a file that stops early is refused, damage
/// inside a JPEG that leaves a picture is not.
public enum PictureDecoder {
  /// Decodes one picture.
  ///
  /// - Parameters:
  ///   - bytes: the whole file.
  ///   - name: what errors call the picture, usually its path.
  /// - Throws: `AttuneError` (`.request`): another format, a broken or truncated file, a picture above the limits.
  public static func decode(
    _ bytes: [UInt8], name: String, options: PictureDecodingOptions = .display
  ) throws -> Picture {
    try bytes.withUnsafeBufferPointer { buffer in
      let picture: Picture
      switch try recognized(buffer, name: name, options: options) {
      case .png: picture = try PNGReader(bytes: buffer, name: name, options: options).picture()
      case .jpeg: picture = try JPEGReader(bytes: buffer, name: name, options: options).picture()
      case .webP: picture = try WebPReader(bytes: buffer, name: name, options: options).picture()
      }
      return options.upright ? orientation(of: buffer).upright(picture) : picture
    }
  }

  /// Decodes the picture in the file at `path`.
  ///
  /// - Throws: as `decode`, and if there is no such file or it cannot be read.
  public static func load(path: String, options: PictureDecodingOptions = .display) throws -> Picture {
    try decode(PictureFile.read(path, limit: options.maximumBytes), name: path, options: options)
  }

  /// Width and height that `decode` would give, from the header alone.
  ///
  /// - Throws: as `decode`, as far as the header tells.
  public static func size(
    of bytes: [UInt8], name: String, options: PictureDecodingOptions = .display
  ) throws -> (width: Int, height: Int) {
    try bytes.withUnsafeBufferPointer { buffer in
      let size: (width: Int, height: Int)
      switch try recognized(buffer, name: name, options: options) {
      case .png: size = try PNGReader(bytes: buffer, name: name, options: options).size()
      case .jpeg: size = try JPEGReader(bytes: buffer, name: name, options: options).size()
      case .webP: size = try WebPReader(bytes: buffer, name: name, options: options).size()
      }
      return options.upright && orientation(of: buffer).swapsSides ? (size.height, size.width) : size
    }
  }

  /// The EXIF orientation that the file carries; `.up` without one.
  public static func orientation(of bytes: [UInt8]) -> PictureOrientation {
    bytes.withUnsafeBufferPointer { orientation(of: $0) }
  }

  private static func orientation(of bytes: UnsafeBufferPointer<UInt8>) -> PictureOrientation {
    EXIF.orientation(inFile: bytes) ?? .up
  }

  private enum Readable { case png, jpeg, webP }

  private static func recognized(
    _ bytes: UnsafeBufferPointer<UInt8>, name: String, options: PictureDecodingOptions
  ) throws -> Readable {
    guard bytes.count <= options.maximumBytes else {
      throw PictureFile.tooLarge(bytes.count, limit: options.maximumBytes, name: name)
    }
    let found = PictureFormat(sniffing: bytes)
    switch found {
    case .png: return .png
    case .jpeg: return .jpeg
    case .webP: return .webP
    default: throw found.refusal(of: bytes, name: name)
    }
  }
}

/// Checks a header's size before anything is allocated for it.
func checkedSize(
  width: UInt32, height: UInt32, name: String, options: PictureDecodingOptions
) throws -> (width: Int, height: Int) {
  let (width, height) = (Int(width), Int(height))
  guard width > 0, height > 0 else {
    throw AttuneError.request(
      "the picture's header says \(width) x \(height) pixels; both sides must be at least 1", at: .init(file: name))
  }
  guard width <= options.maximumSide, height <= options.maximumSide else {
    throw AttuneError.request(
      "the picture's header says \(width) x \(height) pixels; a side may have at most \(options.maximumSide)",
      at: .init(file: name), hint: "scale the picture down before it is used")
  }
  guard width * height <= options.maximumPixels else {
    throw AttuneError.request(
      "the picture's header says \(width) x \(height) = \(width * height) pixels; at most \(options.maximumPixels) are read",
      at: .init(file: name), hint: "scale the picture down before it is used")
  }
  return (width, height)
}
