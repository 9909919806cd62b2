import Core
import Foundation

/// Where a film's frames come from.
public enum VideoSource: Sendable, Equatable {
  /// A container file, read through the programs `ffmpeg` and `ffprobe`.
  case file(String)
  /// Pictures in order; `name` is what errors call the film.
  case frames([String], name: String)

  /// A video file, or a folder of frames: its PNG, JPEG and WebP files by name, numbers in names by their value
  /// (`frame2.png` before `frame10.png`).
  ///
  /// - Throws: `AttuneError` (`.request`): nothing there, or a folder without pictures.
  public init(path: String) throws {
    var isFolder: ObjCBool = false
    guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) else {
      throw AttuneError.request(
        "there is no such video", at: .init(file: path),
        hint: "a video file, a folder of frames, or frames separated by commas")
    }
    guard isFolder.boolValue else {
      self = .file(path)
      return
    }
    let names: [String]
    do {
      names = try FileManager.default.contentsOfDirectory(atPath: path)
    } catch {
      throw AttuneError.request("the folder cannot be read", at: .init(file: path))
    }
    let pictures = names.filter { name in
      let ending = (name as NSString).pathExtension.lowercased()
      return !name.hasPrefix(".") && ["png", "jpg", "jpeg", "webp"].contains(ending)
    }
    guard !pictures.isEmpty else {
      throw AttuneError.request(
        "the folder has no frames: none of its \(names.count) entries ends in .png, .jpg, .jpeg or .webp",
        at: .init(file: path))
    }
    let folder = path.hasSuffix("/") ? path : path + "/"
    self = .frames(pictures.sorted(by: Self.precedes).map { folder + $0 }, name: path)
  }

  /// As `init(path:)`, or frames separated by commas where no file has that name.
  ///
  /// - Throws: as `init(path:)`.
  public init(argument: String) throws {
    let parts = argument.split(separator: ",").map(String.init)
    if parts.count > 1, !FileManager.default.fileExists(atPath: argument) {
      self = .frames(parts, name: argument)
    } else {
      self = try VideoSource(path: argument)
    }
  }

  public var name: String {
    switch self {
    case .file(let path): path
    case .frames(_, let name): name
    }
  }

  /// Decodes the chosen frames (`PictureDecodingOptions.reference`, transparent colours as they are); of a list only those are
  /// opened.
  ///
  /// - Parameters:
  ///   - frameRate: frames a second of a list; a file says its own.
  ///   - choosing: places in the film, ascending, from the number of frames and the frame rate (nil if unknown).
  ///   - each: what is kept of a decoded frame, so that a long film need not fit into memory. Gets the number of frames
  ///     that were chosen, and what errors call this one.
  /// - Throws: `AttuneError`: `.request` for a file that is missing, broken or above the limits, and where ffmpeg is
  ///   needed and not installed; `.work` where it fails or takes too long.
  public func frames(
    frameRate: Double? = nil, limits: VideoLimits = VideoLimits(),
    choosing: (_ count: Int, _ frameRate: Double?) throws -> [Int],
    each: (_ frame: Picture, _ chosen: Int, _ name: String) throws -> Picture = { frame, _, _ in frame }
  ) throws -> VideoFrames {
    try frames(
      frameRate: frameRate, limits: limits, searchPath: ProcessInfo.processInfo.environment["PATH"],
      choosing: choosing, each: each)
  }

  func frames(
    frameRate: Double?, limits: VideoLimits, searchPath: String?,
    choosing: (_ count: Int, _ frameRate: Double?) throws -> [Int],
    each: (_ frame: Picture, _ chosen: Int, _ name: String) throws -> Picture = { frame, _, _ in frame }
  ) throws -> VideoFrames {
    switch self {
    case .frames(let paths, _):
      guard !paths.isEmpty else { throw AttuneError.request("the video has no frames", at: .init(file: name)) }
      let places = try choose(paths.count, frameRate, limits, choosing)
      var kept = KeptFrames(places: places, limits: limits, name: name)
      let options = PictureDecodingOptions(
        sixteenBitGrey: .clipped, maximumSide: min(limits.maximumSide, 65_535), maximumPixels: limits.maximumPixels)
      for place in kept.distinct {
        let frame = try PictureDecoder.load(path: paths[place], options: options)
        try kept.add(each(frame, places.count, paths[place]))
      }
      return VideoFrames(pictures: kept.all, indices: places, frameRate: frameRate)
    case .file(let path):
      let programs = try FFmpeg(searchPath: searchPath, file: path)
      // Packets are counted first, which is quick; where some are no frames, all are decoded to count.
      for exactly in [false, true] {
        let (count, rate) = try programs.probe(path, limits: limits, exactly: exactly)
        let places = try choose(count, rate, limits, choosing)
        var kept = KeptFrames(places: places, limits: limits, name: name)
        let decoded = try programs.frames(of: path, at: kept.distinct, of: count, limits: limits) {
          try kept.add(each($0, places.count, "\(path), frame \(kept.next + 1)"))
        }
        if decoded == kept.distinct.count {
          return VideoFrames(pictures: kept.all, indices: places, frameRate: rate)
        }
      }
      throw AttuneError.request(
        "the video is damaged: it counts frames that cannot be decoded", at: .init(file: path),
        hint: "copy or download the file again, or extract its frames into a folder")
    }
  }

  private func choose(
    _ count: Int, _ rate: Double?, _ limits: VideoLimits, _ choosing: (Int, Double?) throws -> [Int]
  ) throws -> [Int] {
    let places = try choosing(count, rate)
    precondition(
      !places.isEmpty && places.allSatisfy { (0..<count).contains($0) }
        && zip(places, places.dropFirst()).allSatisfy(<=),
      "places \(places) in a film of \(count) frames")
    guard places.count <= limits.maximumFrames else {
      throw AttuneError.request(
        "\(places.count) of the video's \(count) frames would be taken; at most \(limits.maximumFrames) are read",
        at: .init(file: name), hint: "take fewer frames a second, or cut the video")
    }
    return places
  }

  /// Names in the order of their bytes, but runs of digits by their value.
  static func precedes(_ a: String, _ b: String) -> Bool {
    var (left, right) = (Substring(a).utf8, Substring(b).utf8)
    let isDigit: (UInt8) -> Bool = { (0x30...0x39).contains($0) }
    while let one = left.first, let other = right.first {
      if isDigit(one), isDigit(other) {
        let (x, y) = (left.prefix(while: isDigit), right.prefix(while: isDigit))
        let (value, limit) = (x.drop { $0 == 0x30 }, y.drop { $0 == 0x30 })
        if value.count != limit.count { return value.count < limit.count }
        if !value.elementsEqual(limit) { return value.lexicographicallyPrecedes(limit) }
        left = left.dropFirst(x.count)
        right = right.dropFirst(y.count)
      } else {
        if one != other { return one < other }
        left = left.dropFirst()
        right = right.dropFirst()
      }
    }
    // Equal so far: the shorter one first; what differs in leading zeros alone, by its bytes.
    return left.isEmpty && right.isEmpty ? a < b : left.isEmpty
  }
}

/// Frames as they are decoded, counted against the limits.
private struct KeptFrames {
  let places: [Int]
  let limits: VideoLimits
  let name: String
  /// `places` without repetition: what has to be decoded.
  let distinct: [Int]
  private var pictures: [Picture] = []
  private var bytes = 0

  init(places: [Int], limits: VideoLimits, name: String) {
    self.places = places
    self.limits = limits
    self.name = name
    distinct = places.indices.filter { $0 == 0 || places[$0] != places[$0 - 1] }.map { places[$0] }
  }

  mutating func add(_ picture: Picture) throws {
    bytes += picture.pixels.count
    guard bytes <= limits.maximumBytes else {
      throw AttuneError.request(
        "the video's frames take more than \(limits.maximumBytes) bytes; \(pictures.count) of \(distinct.count) fit",
        at: .init(file: name), hint: "take fewer frames a second, or scale the video down")
    }
    pictures.append(picture)
  }

  /// The place of the frame that is decoded next.
  var next: Int { distinct[pictures.count] }

  /// One picture for each place.
  var all: [Picture] {
    var at = -1
    return places.indices.map { i in
      if i == 0 || places[i] != places[i - 1] { at += 1 }
      return pictures[at]
    }
  }
}
