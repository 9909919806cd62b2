import Core

/// What a file's first bytes say it is.
enum PictureFormat: Equatable {
  case png, jpeg, webP
  /// Not read; the name is for the error.
  case other(String)
  case empty
  case unknown

  private static let signatures: [(name: String, offset: Int, bytes: [UInt8])] = [
    ("GIF", 0, Array("GIF8".utf8)),
    ("PDF", 0, Array("%PDF".utf8)),
    ("BMP", 0, Array("BM".utf8)),
    ("TIFF", 0, [0x49, 0x49, 0x2A, 0x00]),
    ("TIFF", 0, [0x4D, 0x4D, 0x00, 0x2A]),
    ("JPEG 2000", 4, Array("jP  ".utf8)),
    ("JPEG 2000", 0, [0xFF, 0x4F, 0xFF, 0x51]),
    ("JPEG XL", 0, [0xFF, 0x0A]),
    ("JPEG XL", 4, Array("JXL ".utf8)),
    ("AVIF", 4, Array("ftypavif".utf8)),
    ("AVIF", 4, Array("ftypavis".utf8)),
    ("HEIC", 4, Array("ftypheic".utf8)),
    ("HEIC", 4, Array("ftypheix".utf8)),
    ("HEIC", 4, Array("ftypheim".utf8)),
    ("HEIC", 4, Array("ftypheis".utf8)),
    ("HEIC", 4, Array("ftyphevc".utf8)),
    ("HEIC", 4, Array("ftypmif1".utf8)),
    ("HEIC", 4, Array("ftypmsf1".utf8)),
    ("MP4 video", 4, Array("ftyp".utf8)),
    ("Matroska or WebM video", 0, [0x1A, 0x45, 0xDF, 0xA3]),
    ("AVI video", 8, Array("AVI ".utf8)),
    ("Photoshop", 0, Array("8BPS".utf8)),
    ("Windows icon", 0, [0x00, 0x00, 0x01, 0x00]),
    ("QOI", 0, Array("qoif".utf8)),
    ("gzip", 0, [0x1F, 0x8B]),
    ("ZIP", 0, Array("PK\u{3}\u{4}".utf8)),
    ("NumPy", 0, [0x93] + Array("NUMPY".utf8)),
    ("a Git LFS pointer", 0, Array("version https://git-lfs".utf8)),
    ("a data URL", 0, Array("data:image/".utf8)),
  ]

  /// nil for what is not read.
  var mimeType: String? {
    switch self {
    case .png: "image/png"
    case .jpeg: "image/jpeg"
    case .webP: "image/webp"
    case .other, .empty, .unknown: nil
    }
  }

  init(sniffing bytes: UnsafeBufferPointer<UInt8>) {
    func begins(_ signature: [UInt8], at offset: Int = 0) -> Bool {
      bytes.count >= offset + signature.count && signature.indices.allSatisfy { bytes[offset + $0] == signature[$0] }
    }
    if bytes.isEmpty {
      self = .empty
    } else if begins([0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A]) {
      self = .png
    } else if begins([0xFF, 0xD8, 0xFF]) {
      self = .jpeg
    } else if begins(Array("RIFF".utf8)) && begins(Array("WEBP".utf8), at: 8) {
      self = .webP
    } else if let known = Self.signatures.first(where: { begins($0.bytes, at: $0.offset) }) {
      self = .other(known.name)
    } else {
      self = Self.markup(bytes)
    }
  }

  /// Web pages saved under a picture's name are the commonest broken download.
  private static func markup(_ bytes: UnsafeBufferPointer<UInt8>) -> PictureFormat {
    let text = String(decoding: bytes.prefix(1024), as: UTF8.self).lowercased()
    let start = text.drop { $0.isWhitespace || $0 == "\u{FEFF}" }
    if start.hasPrefix("<!doctype html") || start.hasPrefix("<html") { return .other("HTML") }
    if start.hasPrefix("<svg") || (start.hasPrefix("<?xml") && start.contains("<svg")) { return .other("SVG") }
    if start.hasPrefix("<?xml") { return .other("XML") }
    if start.hasPrefix("{") { return .other("JSON") }
    return .unknown
  }

  /// The error for a file that is not read, with what to do about it.
  func refusal(of bytes: UnsafeBufferPointer<UInt8>, name: String) -> AttuneError {
    let place = AttuneError.Location(file: name)
    let wanted = "expected a PNG, JPEG or WebP picture"
    let first = "it begins with the bytes \(Self.hexadecimal(bytes.prefix(8)))"
    switch self {
    case .empty: return .request("the file is empty, \(wanted)", at: place, hint: Self.advice(""))
    case .other(let format) where format.hasPrefix("a "):
      return .request("found \(format), \(wanted)", at: place, hint: Self.advice(format))
    case .other(let format):
      return .request("found \(format) (\(first)), \(wanted)", at: place, hint: Self.advice(format))
    case .png, .jpeg, .webP, .unknown:
      return .request("not a picture that is known here (\(first)), \(wanted)", at: place, hint: Self.advice(""))
    }
  }

  private static func advice(_ format: String) -> String {
    let general = "PNG, JPEG and WebP are read, whatever the file's name"
    switch format {
    case "a Git LFS pointer": return "the picture itself was not downloaded: run 'git lfs pull'"
    case "a data URL": return "decode the base64 text after the comma and save its bytes"
    case "HEIC": return "\(general); 'heif-convert picture.heic picture.png' converts it"
    case "GIF":
      return "\(general); save a frame as PNG, or give the animation as a video"
    case "BMP", "TIFF", "AVIF", "JPEG 2000", "JPEG XL", "Photoshop", "Windows icon", "QOI":
      return "\(general); 'magick picture picture.png' converts it"
    case "SVG", "PDF": return "\(general); draw it to pixels first: 'magick -density 150 file picture.png'"
    case "gzip", "ZIP": return "\(general); unpack the archive first"
    case _ where format.hasSuffix("video"): return "\(general); give the file as a video, not as a picture"
    case "HTML", "XML", "JSON": return "\(general); the download may have failed: look into the file"
    default: return "\(general); convert the picture to one of them"
    }
  }

  private static func hexadecimal(_ bytes: some Sequence<UInt8>) -> String {
    bytes.map { byte in
      let digits = String(byte, radix: 16, uppercase: true)
      return digits.count == 1 ? "0" + digits : digits
    }.joined(separator: " ")
  }
}

extension PictureDecoder {
  /// The media type of a picture file of a kind that is read; nil for anything else.
  public static func mimeType(of bytes: [UInt8]) -> String? {
    bytes.withUnsafeBufferPointer { PictureFormat(sniffing: $0).mimeType }
  }
}
