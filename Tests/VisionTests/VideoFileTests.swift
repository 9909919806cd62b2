import Core
import Foundation
import TestSupport
import Testing

@testable import AttuneVision

@Suite("Films in files")
struct VideoFileTests {
  private static let searchPath = ProcessInfo.processInfo.environment["PATH"]
  static let isInstalled = ["ffmpeg", "ffprobe"].allSatisfy { ExternalProgram($0, searchPath: searchPath) != nil }

  /// A folder with programs that play ffmpeg and ffprobe; `$HERE` is the folder.
  private func programs(ffprobe: String, ffmpeg: String) throws -> String {
    let folder = try Program.temporaryFolder()
    for (name, text) in [("ffprobe", ffprobe), ("ffmpeg", ffmpeg)] {
      let path = "\(folder)/\(name)"
      let script = "#!/bin/sh\nHERE='\(folder)'\nprintf '%s\\n' \"$@\" >> \"$HERE/\(name).words\"\n\(text)\n"
      // Another process writes it: a program that this one has open for writing, as any child started meanwhile would
      // have too, cannot be started.
      let shell = try #require(ExternalProgram("sh", searchPath: Self.searchPath))
      let written = try shell.run(
        ["-c", #"printf '%s' "$1" > "$2" && chmod 755 "$2""#, "sh", script, path], seconds: 60
      ) { _ in true }
      #expect(written.end == .exit(0), "\(written.errors)")
    }
    return folder
  }

  private func probing(_ count: Int, rate: String = "3/1", key: String = "nb_read_packets") -> String {
    #"echo '{"streams": [{"avg_frame_rate": "\#(rate)", "\#(key)": "\#(count)"}]}'"#
  }

  /// Prints frames of 2 x 1 pixels, one colour each: "aaaaaa", "bbbbbb", …
  private func printing(_ count: Int) -> String {
    (0..<count).map { i in
      let letter = String(UnicodeScalar(UInt8(97 + i)))
      return "printf 'P6\\n2 1\\n255\\n\(String(repeating: letter, count: 6))'"
    }.joined(separator: "\n")
  }

  private func words(_ folder: String, _ program: String) throws -> [String] {
    try String(contentsOfFile: "\(folder)/\(program).words", encoding: .utf8).split(separator: "\n").map(String.init)
  }

  private func frames(
    _ path: String, in folder: String, limits: VideoLimits = VideoLimits(), choosing: (Int, Double?) -> [Int]
  ) throws -> VideoFrames {
    try VideoSource.file(path).frames(frameRate: nil, limits: limits, searchPath: folder, choosing: choosing)
  }

  @Test("without ffmpeg the error says what to do")
  func missing() throws {
    for path in [nil, "", "relative:.", "/nowhere"] {
      expectAttuneError(containing: "a.mp4: the programs ffmpeg and ffprobe", "install ffmpeg", "frames works without")
      {
        _ = try VideoSource.file("a.mp4").frames(
          frameRate: nil, limits: VideoLimits(), searchPath: path, choosing: { _, _ in [0] })
      }
    }
  }

  @Test("chosen frames alone are asked for, and no word goes through a shell")
  func chosen() throws {
    let folder = try programs(ffprobe: probing(9), ffmpeg: printing(3))
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let name = "-y $(touch x) 'a\" b.mp4"
    let film = try frames(name, in: folder) { count, rate in
      #expect(count == 9 && rate == 3)
      return [0, 4, 4, 8]
    }
    #expect(film.indices == [0, 4, 4, 8] && film.frameRate == 3)
    #expect(film.pictures.map { $0.pixels[0] } == [97, 98, 98, 99])
    #expect(film.pictures.allSatisfy { $0.width == 2 && $0.height == 1 })
    #expect(try words(folder, "ffmpeg").contains("file:\(name)"))
    #expect(try words(folder, "ffmpeg").contains("select='(eq(n,0)+(eq(n,4)+eq(n,8)))'"))
    #expect(try words(folder, "ffprobe").contains("file:\(name)"))
  }

  @Test("more frames than asked for: the program is stopped")
  func endless() throws {
    let folder = try programs(ffprobe: probing(2, rate: "0/0"), ffmpeg: "while :; do\n\(printing(1))\ndone")
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let film = try frames("a.mp4", in: folder) { count, rate in
      #expect(rate == nil)
      return Array(0..<count)
    }
    #expect(film.pictures.count == 2)
    #expect(!(try words(folder, "ffmpeg").contains("-vf")))
  }

  @Test("where packets are no frames, frames are counted")
  func recount() throws {
    let both = "case \"$*\" in\n*count_frames*) \(probing(3, key: "nb_read_frames")) ;;\n*) \(probing(5)) ;;\nesac"
    let folder = try programs(ffprobe: both, ffmpeg: printing(3))
    defer { try? FileManager.default.removeItem(atPath: folder) }
    #expect(try frames("a.mkv", in: folder) { count, _ in Array(0..<count) }.indices == [0, 1, 2])
    let damaged = try programs(ffprobe: both, ffmpeg: printing(2))
    defer { try? FileManager.default.removeItem(atPath: damaged) }
    expectAttuneError(containing: "a.mkv: the video is damaged") {
      _ = try frames("a.mkv", in: damaged) { count, _ in Array(0..<count) }
    }
  }

  @Test("a version that does not know -fps_mode")
  func older() throws {
    let old =
      "case \"$*\" in\n*fps_mode*) echo \"Unrecognized option 'fps_mode'.\" >&2; exit 1 ;;\nesac\n\(printing(2))"
    let folder = try programs(ffprobe: probing(2), ffmpeg: old)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    #expect(try frames("a.mkv", in: folder) { count, _ in Array(0..<count) }.pictures.count == 2)
    #expect(try words(folder, "ffmpeg").contains("-vsync"))
  }

  @Test("what goes wrong is said")
  func trouble() throws {
    var limits = VideoLimits()
    limits.maximumBytes = 100
    limits.maximumFrames = 30
    for (ffprobe, ffmpeg, fragments) in [
      ("echo 'file:a.mp4: Invalid data' >&2; exit 1", "", ["a.mp4: ffprobe cannot read the video: Invalid data"]),
      ("kill -9 $$", "", ["ffprobe was ended by signal 9"]),
      ("echo '{}'", "", ["no video stream"]), ("echo '{\"streams\": []}'", "", ["no video stream"]),
      ("echo oops", "", ["no video stream"]), (probing(0), "", ["the video has no frames"]),
      ("sleep 60", "", ["ffprobe did not finish within 2.0 seconds"]),
      (probing(2), "sleep 60", ["ffmpeg did not finish within 2.0 seconds"]),
      (probing(2), "exec 1>&- 2>&-; sleep 60", ["ffmpeg did not finish within 2.0 seconds"]),
      (probing(2), "echo 'no decoder' >&2; exit 1", ["ffmpeg cannot read the video: no decoder"]),
      (probing(2), "echo hello there all", ["printed something else"]),
      (probing(2), "printf 'P6\\n60000 60000\\n255\\n'", ["60000 x 60000", "at most"]),
      (probing(2), "printf 'P6\\n99999999999999999999 1\\n255\\n'", ["printed something else"]),
      (probing(2), "printf 'P6\\n10 10\\n255\\n'; head -c 300 /dev/zero", ["take more than 100 bytes"]),
      (probing(31), "", ["31 of the video's 31 frames would be taken; at most 30"]),
    ] {
      let folder = try programs(ffprobe: ffprobe, ffmpeg: ffmpeg)
      defer { try? FileManager.default.removeItem(atPath: folder) }
      limits.seconds = (ffprobe + ffmpeg).contains("sleep") ? 2 : 300
      for fragment in fragments {
        expectAttuneError(containing: fragment) {
          _ = try frames("a.mp4", in: folder, limits: limits) { count, _ in Array(0..<count) }
        }
      }
    }
  }

  @Test("a folder of frames: by name, numbers by value, no other files")
  func folder() throws {
    let folder = try Program.temporaryFolder()
    defer { try? FileManager.default.removeItem(atPath: folder) }
    expectAttuneError(containing: folder, "none of its 0 entries") { _ = try VideoSource(path: folder) }
    for i in [1, 2, 9, 10, 11] {
      let picture = Picture(width: 4, height: 4, pixels: [UInt8](repeating: UInt8(i), count: 48))
      try Data(try PNGEncoder.encode(picture)).write(to: URL(fileURLWithPath: "\(folder)/frame\(i).png"))
    }
    try Data("x".utf8).write(to: URL(fileURLWithPath: folder + "/notes.txt"))
    try Data("x".utf8).write(to: URL(fileURLWithPath: folder + "/.hidden.png"))
    let film = try VideoFile.frames(path: folder)
    #expect(film.pictures.map { $0.pixels[0] } == [1, 2, 9, 10, 11] && film.frameRate == nil)
    #expect(try VideoFile.frames(path: folder, fps: 24, maxFrames: 3).indices == [0, 2, 4])
    #expect(try VideoFile.frames(path: folder, fps: 1).indices == [0])
    expectAttuneError(containing: "/nowhere: there is no such video") { _ = try VideoFile.frames(path: "/nowhere") }
    // Only what is taken is opened.
    try Data("x".utf8).write(to: URL(fileURLWithPath: folder + "/frame2.png"))
    #expect(try VideoFile.frames(path: folder, fps: 24, maxFrames: 3).pictures.count == 3)
    expectAttuneError(containing: "frame2.png") { _ = try VideoFile.frames(path: folder) }
    let list = try VideoSource(argument: "\(folder)/frame9.png,\(folder)/frame1.png")
    #expect(try list.frames(choosing: { count, _ in Array(0..<count) }).pictures.map { $0.pixels[0] } == [9, 1])
  }

  @Test("names in order")
  func order() {
    let sorted = ["10.png", "a2b10.png", "9.png", "a2b9.png", "a.png", "002.png", "2.png"].sorted(
      by: VideoSource.precedes)
    #expect(sorted == ["002.png", "2.png", "9.png", "10.png", "a.png", "a2b9.png", "a2b10.png"])
  }

  @Test("a film's frames from their files equal those from memory")
  func processed() throws {
    let folder = try Program.temporaryFolder()
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let frames = try ReferenceTensors("images/processed.safetensors").pictures("video/resize.frames")
    for (i, frame) in frames.enumerated() {
      try Data(try PNGEncoder.encode(frame)).write(to: URL(fileURLWithPath: "\(folder)/\(i).png"))
    }
    var processor = QwenVideoProcessor()
    processor.minPixels = 2048
    let source = try VideoSource(path: folder)
    #expect(try processor.process(source, frameRate: 4) == processor.process(frames, frameRate: 4))
    #expect(try processor.process(source) == processor.process(frames))
    let odd = Picture(width: 8, height: 8, pixels: [UInt8](repeating: 0, count: 192))
    try Data(try PNGEncoder.encode(odd)).write(to: URL(fileURLWithPath: "\(folder)/11.png"))
    expectAttuneError(containing: "11.png: the frame has 8 x 8 pixels", "111 x 70") {
      _ = try processor.process(source)
    }
  }

  @Test(
    "the real ffmpeg: lossless film, playlist, cut file",
    .enabled(if: isInstalled, "ffmpeg and ffprobe are not on the PATH; with them this test runs"))
  func real() throws {
    let folder = try Program.temporaryFolder()
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let frames = try ReferenceTensors("images/processed.safetensors").pictures("video/no_resize.frames")
    for (i, frame) in frames.enumerated() {
      try Data(try PNGEncoder.encode(frame)).write(to: URL(fileURLWithPath: "\(folder)/\(i).png"))
    }
    let ffmpeg = try #require(ExternalProgram("ffmpeg", searchPath: Self.searchPath))
    func make(_ options: [String], _ name: String) throws {
      let made = try ffmpeg.run(
        ["-nostdin", "-v", "error", "-framerate", "3", "-i", "\(folder)/%d.png"] + options + ["\(folder)/\(name)"],
        seconds: 60
      ) { _ in true }
      #expect(made.end == .exit(0), "\(name): \(made.errors)")
    }
    try make(["-c:v", "ffv1", "-pix_fmt", "bgr0"], "film.mkv")
    let all = try VideoFile.frames(path: folder + "/film.mkv")
    #expect(all.frameRate == 3 && all.indices == Array(0..<9) && all.pictures == frames)
    let some = try VideoFile.frames(path: folder + "/film.mkv", fps: 2, maxFrames: 6)
    #expect(some.indices == [0, 2, 3, 5, 6, 8] && some.pictures == [0, 2, 3, 5, 6, 8].map { frames[$0] })
    var processor = QwenVideoProcessor()
    processor.minPixels = 4096
    #expect(
      try processor.process(VideoSource.file(folder + "/film.mkv")) == processor.process(frames, frameRate: 3))
    // Of a usual kind: colours are only near.
    try make(["-c:v", "mpeg4", "-q:v", "2", "-pix_fmt", "yuv420p"], "film.mp4")
    let lossy = try VideoFile.frames(path: folder + "/film.mp4")
    #expect(lossy.pictures.count == 9 && lossy.pictures[0].width == frames[0].width && lossy.frameRate == 3)
    // Hundreds of chosen frames make a long expression.
    try make(["-vf", "loop=99:9,setpts=N/3/TB", "-c:v", "ffv1", "-pix_fmt", "bgr0"], "long.mkv")
    let many = try VideoFile.frames(path: folder + "/long.mkv", fps: 2.9)
    #expect(many.pictures.count > 700 && many.pictures == many.indices.map { frames[$0 % 9] })
    // A playlist names other files; it is refused, whatever it is called.
    try "#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\nfilm.mp4\n#EXT-X-ENDLIST\n".write(
      toFile: folder + "/list.mp4", atomically: true, encoding: .utf8)
    expectAttuneError(containing: "list.mp4: ffprobe cannot read the video") {
      _ = try VideoFile.frames(path: folder + "/list.mp4")
    }
    let film = try Data(contentsOf: URL(fileURLWithPath: folder + "/film.mkv"))
    for part in 1..<8 {
      try film.prefix(film.count * part / 8).write(to: URL(fileURLWithPath: folder + "/cut.mkv"))
      do {
        let cut = try VideoFile.frames(path: folder + "/cut.mkv")
        #expect(cut.pictures.count < 9 && cut.pictures.first == frames[0])
      } catch let error as AttuneError {
        #expect(error.description.contains("cut.mkv"), "\(error)")
      }
    }
  }
}
