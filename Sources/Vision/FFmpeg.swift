import Core
import Foundation

/// The programs `ffmpeg` and `ffprobe`, for films in container files.
struct FFmpeg {
  private let ffmpeg: ExternalProgram
  private let ffprobe: ExternalProgram

  /// Demuxers of single files. Playlists and image patterns, which name further files, are not among them.
  private static let formats =
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpeg,mpegts,mpegvideo,flv,ogg,asf,gif,apng,ivf,h264,hevc,obu,m4v,mxf,wtv,rm,nut,yuv4mpegpipe,dv,swf"
  private static let onlyFiles = ["-protocol_whitelist", "file,pipe", "-format_whitelist", formats]

  /// - Parameter searchPath: as the variable PATH.
  /// - Throws: `AttuneError` (`.request`) if one of the two is not there.
  init(searchPath: String?, file: String) throws {
    guard let ffmpeg = ExternalProgram("ffmpeg", searchPath: searchPath),
      let ffprobe = ExternalProgram("ffprobe", searchPath: searchPath)
    else {
      throw AttuneError.request(
        "the programs ffmpeg and ffprobe, which read video files, are not on the PATH", at: .init(file: file),
        hint: "'apt-get install ffmpeg' or 'brew install ffmpeg'; a folder or a list of frames works without")
    }
    self.ffmpeg = ffmpeg
    self.ffprobe = ffprobe
  }

  /// Number of frames and frames a second of the first video stream.
  ///
  /// - Parameter exactly: decodes everything to count; otherwise packets are counted.
  func probe(_ file: String, limits: VideoLimits, exactly: Bool) throws -> (count: Int, rate: Double?) {
    let (counting, key) = exactly ? ("-count_frames", "nb_read_frames") : ("-count_packets", "nb_read_packets")
    var output: [UInt8] = []
    let (end, errors) = try ffprobe.run(
      ["-v", "error"] + Self.onlyFiles + [
        "-select_streams", "V:0", counting, "-show_entries", "stream=avg_frame_rate,\(key)", "-of", "json",
        "-i", "file:\(file)",
      ], seconds: limits.seconds
    ) { bytes in
      output += bytes
      return output.count < 1 << 20
    }
    try check(end, errors, "ffprobe", file, limits)
    guard let stream = try? JSON.parse(output, file: file)["streams"]?.array?.first else {
      throw AttuneError.request("the file has no video stream", at: .init(file: file))
    }
    guard let count = stream[key]?.string.flatMap({ Int($0) }), count > 0 else {
      throw AttuneError.request("the video has no frames", at: .init(file: file))
    }
    let ratio = (stream["avg_frame_rate"]?.string ?? "").split(separator: "/").compactMap { Double($0) }
    let rate = ratio.count == 2 && ratio[1] > 0 ? ratio[0] / ratio[1] : nil
    return (count, rate.flatMap { $0 > 0 && $0.isFinite ? $0 : nil })
  }

  /// Decodes the frames at `places` (ascending, without repetition) of a film of `count`, in order.
  ///
  /// - Returns: how many were decoded.
  func frames(
    of file: String, at places: [Int], of count: Int, limits: VideoLimits, each: (Picture) throws -> Void
  ) throws -> Int {
    let isWhole = places.count == count
    let filter = isWhole ? [] : ["-vf", "select='\(Self.selection(places[...]))'"]
    var decoded = 0
    // The flag has another name in versions before 5.1.
    for pacing in [["-fps_mode", "passthrough"], ["-vsync", "passthrough"]] {
      var stream = PixmapStream(limits: limits, name: file)
      let (end, errors) = try ffmpeg.run(
        ["-nostdin", "-v", "error"] + Self.onlyFiles + ["-i", "file:\(file)", "-map", "0:V:0"] + filter + pacing + [
          "-pix_fmt", "rgb24", "-c:v", "ppm", "-f", "image2pipe", "pipe:1",
        ], seconds: limits.seconds
      ) { bytes in
        try stream.take(bytes) { picture in
          try each(picture)
          decoded += 1
          return decoded < places.count
        }
      }
      if decoded == 0, end == .exit(1) || end == .exit(8), errors.contains("fps_mode"), pacing[0] == "-fps_mode" {
        continue
      }
      // A damaged end leaves frames and an error; how many there are is then seen by the caller.
      if decoded == 0 || end == .timedOut { try check(end, errors, "ffmpeg", file, limits) }
      break
    }
    return decoded
  }

  /// An expression that is not 0 for the frames at `places`: a balanced tree, as ffmpeg limits how deep one may be.
  private static func selection(_ places: ArraySlice<Int>) -> String {
    guard places.count > 1 else { return places.first.map { "eq(n,\($0))" } ?? "0" }
    let half = places.startIndex + places.count / 2
    return "(\(selection(places[..<half]))+\(selection(places[half...])))"
  }

  private func check(
    _ end: ExternalProgram.End, _ errors: String, _ program: String, _ file: String, _ limits: VideoLimits
  ) throws {
    // The last line says what the lines before led to; it repeats the file's name.
    let lines = errors.split(separator: "\n").map { $0.trimmingCharacters(in: .whitespaces) }.filter { !$0.isEmpty }
    let reason = lines.last.map { ": \($0.replacingOccurrences(of: "file:\(file): ", with: ""))" } ?? ""
    switch end {
    case .exit(0), .stopped: return
    case .exit:
      throw AttuneError.request(
        "\(program) cannot read the video\(reason)", at: .init(file: file),
        hint: "is it a video file, and does `\(program) \(file)` read it?")
    case .signal(let number):
      throw AttuneError.work("\(program) was ended by signal \(number)\(reason)", at: .init(file: file))
    case .timedOut:
      throw AttuneError.work(
        "\(program) did not finish within \(limits.seconds) seconds", at: .init(file: file),
        hint: "shorten the video, or extract its frames into a folder")
    }
  }
}
