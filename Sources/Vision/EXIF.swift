/// The one thing that decoding needs of EXIF data: which way is up.
///
/// Found in a JPEG's APP1 segments, a PNG's eXIf chunk and a WebP's EXIF chunk. Every offset is checked against the bytes there are;
/// data that make no sense count as absent, as a picture without orientation is a picture still.
enum EXIF {
  static func orientation(inFile bytes: UnsafeBufferPointer<UInt8>) -> PictureOrientation? {
    switch PictureFormat(sniffing: bytes) {
    case .jpeg: orientation(inJPEG: Reader(bytes))
    case .png: orientation(inPNG: Reader(bytes))
    case .webP: orientation(inWebP: Reader(bytes))
    default: nil
    }
  }

  /// Walks the marker segments in front of the first scan.
  private static func orientation(inJPEG file: Reader) -> PictureOrientation? {
    var at = 2
    while let first = file.byte(at), first == 0xFF, let marker = file.byte(at + 1) {
      switch marker {
      case 0xFF: at += 1  // padding
      case 0x01, 0xD0...0xD8: at += 2  // markers without a length
      case 0xD9, 0xDA: return nil
      default:
        guard let length = file.big16(at + 2), length >= 2 else { return nil }
        if marker == 0xE1, file.begins(Array("Exif\0".utf8), at: at + 4),
          let found = orientation(inTIFF: file.slice(at + 10, length - 8))
        {
          return found
        }
        at += 2 + length
      }
    }
    return nil
  }

  /// Walks the chunks; eXIf may stand before or after the pixels.
  private static func orientation(inPNG file: Reader) -> PictureOrientation? {
    var at = 8
    while let length = file.big32(at), length <= Int(Int32.max) {
      if file.begins(Array("eXIf".utf8), at: at + 4) { return orientation(inTIFF: file.slice(at + 8, length)) }
      at += 12 + length
    }
    return nil
  }

  /// Walks the RIFF chunks; EXIF stands behind the pixels, and only in the extended format.
  private static func orientation(inWebP file: Reader) -> PictureOrientation? {
    guard file.begins(Array("VP8X".utf8), at: 12) else { return nil }
    var at = 12
    while let length = file.little32(at + 4) {
      if file.begins(Array("EXIF".utf8), at: at) {
        // Some writers keep the marker that a JPEG has there.
        let marker = file.begins(Array("Exif\0\0".utf8), at: at + 8) ? 6 : 0
        return orientation(inTIFF: file.slice(at + 8 + marker, max(length - marker, 0)))
      }
      at += 8 + length + length % 2
    }
    return nil
  }

  /// The orientation entry of a TIFF structure's first directory.
  static func orientation(inTIFF tiff: Reader?) -> PictureOrientation? {
    guard let tiff, let order = tiff.big16(0), order == 0x4949 || order == 0x4D4D else { return nil }
    let little = order == 0x4949
    guard tiff.int16(2, little: little) == 42, let directory = tiff.int32(4, little: little),
      let count = tiff.int16(directory, little: little)
    else { return nil }
    for entry in 0..<count {
      let at = directory + 2 + entry * 12
      guard let tag = tiff.int16(at, little: little), let type = tiff.int16(at + 2, little: little),
        let values = tiff.int32(at + 4, little: little)
      else { return nil }
      guard tag == 0x0112 else { continue }
      guard values >= 1 else { return nil }
      // SHORT by the standard; some writers use BYTE or LONG.
      let value =
        switch type {
        case 1: tiff.byte(at + 8).map(Int.init)
        case 3: tiff.int16(at + 8, little: little)
        case 4: tiff.int32(at + 8, little: little)
        default: Int?.none
        }
      return value.flatMap(PictureOrientation.init(rawValue:))
    }
    return nil
  }

  /// Bytes behind bounds; offsets come from files, and one outside gives nil.
  struct Reader {
    private let bytes: UnsafeBufferPointer<UInt8>

    init(_ bytes: UnsafeBufferPointer<UInt8>) { self.bytes = bytes }

    func byte(_ at: Int) -> UInt8? { at >= 0 && at < bytes.count ? bytes[at] : nil }

    func big16(_ at: Int) -> Int? { int16(at, little: false) }
    func big32(_ at: Int) -> Int? { int32(at, little: false) }
    func little32(_ at: Int) -> Int? { int32(at, little: true) }

    func int16(_ at: Int, little: Bool) -> Int? {
      guard let first = byte(at), let second = byte(at + 1) else { return nil }
      return little ? Int(first) | Int(second) << 8 : Int(first) << 8 | Int(second)
    }

    func int32(_ at: Int, little: Bool) -> Int? {
      guard let first = int16(at, little: little), let second = int16(at + 2, little: little) else { return nil }
      return little ? first | second << 16 : first << 16 | second
    }

    func begins(_ text: [UInt8], at offset: Int) -> Bool { text.indices.allSatisfy { byte(offset + $0) == text[$0] } }

    /// The part that is really there of `count` bytes from `at`; nil if it begins outside.
    func slice(_ at: Int, _ count: Int) -> Reader? {
      guard at >= 0, count >= 0, at <= bytes.count else { return nil }
      return Reader(UnsafeBufferPointer(rebasing: bytes[at..<min(bytes.count, at + count)]))
    }
  }
}
