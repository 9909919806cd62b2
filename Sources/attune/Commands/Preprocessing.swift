import AttuneTensor
import AttuneVision
import Core
import Foundation

let preprocessCommand = Command(
  words: ["preprocess"], summary: "pictures and films to the tensors a model sees", positionals: ["[IMAGE…]"],
  options: [
    CommonFlags.model,
    .init(name: "--output", value: "F.safetensors", help: "where the tensors go"),
    .init(
      name: "--video", value: "PATH", help: "a film: a video file, a folder of frames, or frames separated by commas",
      repeats: true),
    .init(name: "--video-fps", value: "N", help: "frames a second of films that are given as frames (24)"),
    .init(name: "--no-tiles", value: nil, help: "DeepSeek-VL2: only the whole view of each picture"),
    .init(name: "--decoded", value: nil, help: "write the decoded pictures instead: image.0, image.1, …"),
  ],
  example: "attune preprocess --model checkpoints/tiny-vl --output pixels.safetensors picture.png",
  details: """
    Of DIR only the preprocessor's files are read; they decide what is written. PNG, JPEG and WebP pictures are read.

    Qwen's models: pixel_values [patches, values] and image_grid_thw [pictures, 3]; of films pixel_values_videos and
    video_grid_thw [films, 3]. Films are sampled as the file says (else 2 frames a second, at least 4). A video file is read
    through the programs ffmpeg and ffprobe, which have to be installed; frames work without.

    DeepSeek-VL2: images [views, 3, side, side] (each picture's whole view, then its tiles row by row) and
    images_spatial_crop [pictures, 2], tiles across and down. The pictures count as one conversation: up to two are cut
    into tiles, more are seen whole.

    With --decoded: image.N as [height, width, 3] u8, upright, alpha dropped, 16-bit grey by its high byte (the processor
    itself follows the reference there: clipped).
    """
) { arguments in
  let output = try arguments.require("--output")
  let films = arguments.list("--video")
  guard !arguments.positionals.isEmpty || !films.isEmpty else {
    throw AttuneError.request(
      "attune preprocess needs a picture or --video", hint: "usage: \(arguments.command.usage)")
  }
  let frameRate = try arguments.number("--video-fps")
  if let frameRate, frameRate <= 0 {
    throw AttuneError.request("--video-fps is \(frameRate), expected more than 0")
  }
  let backend = try CPUBackend(threads: 1)
  var tensors = TensorList(backend: backend)
  if arguments.has("--decoded") {
    guard films.isEmpty else { throw AttuneError.request("--decoded and --video exclude each other") }
    for (i, path) in arguments.positionals.enumerated() {
      let picture = try PictureDecoder.load(path: path, options: .display)
      tensors.add("image.\(i)", picture.pixels, [picture.height, picture.width, 3], .u8)
    }
  } else {
    let folder = try CommonFlags.modelFolder(
      arguments, holding: ["preprocessor_config.json", "processor_config.json"])
    switch try PictureProcessor(folder: folder) {
    case .qwen(let pictures, let videos):
      guard !arguments.has("--no-tiles") else {
        throw AttuneError.request("--no-tiles is for DeepSeek-VL2; this model cuts no tiles", at: .init(file: folder))
      }
      if !arguments.positionals.isEmpty { try tensors.add(pictures, arguments.positionals) }
      if !films.isEmpty {
        guard let videos else {
          throw AttuneError.request(
            "the model has no film processor that is known here", at: .init(file: folder),
            hint: "Qwen3-VL's stands in video_preprocessor_config.json, as \"Qwen3VLVideoProcessor\"")
        }
        try tensors.add(videos, films, frameRate: frameRate)
      }
    case .tiles(let processor):
      guard films.isEmpty else {
        throw AttuneError.request(
          "DeepSeek-VL2 takes no films", at: .init(file: folder), hint: "give single frames as pictures")
      }
      try tensors.add(processor, arguments.positionals, tiling: !arguments.has("--no-tiles"))
    }
  }
  try SafeTensors.write(tensors.list, to: output, from: backend)
  return 0
}

/// What goes into the file.
private struct TensorList {
  let backend: CPUBackend
  private(set) var list: [(name: String, tensor: Tensor)] = []

  init(backend: CPUBackend) { self.backend = backend }

  mutating func add<T>(_ name: String, _ values: [T], _ shape: [Int], _ type: DType) {
    list.append((name, values.withUnsafeBytes { backend.upload($0, shape, type) }))
  }

  mutating func add(_ processor: QwenPictureProcessor, _ paths: [String]) throws {
    let pictures = try paths.map { try PictureDecoder.load(path: $0, options: .reference) }
    let (patches, grids) = try processor.process(pictures, names: paths)
    add("pixel_values", patches, [grids.reduce(0) { $0 + $1.patchCount }, processor.patchLength], .f32)
    add("image_grid_thw", numbers(grids), [grids.count, 3], .i64)
  }

  mutating func add(_ processor: QwenVideoProcessor, _ paths: [String], frameRate: Double?) throws {
    var patches: [Float] = []
    var grids: [PatchGrid] = []
    for path in paths {
      let film = try processor.process(VideoSource(argument: path), frameRate: frameRate)
      let moments = film.timestamps.map { String(format: "%.1f", $0) }.joined(separator: ", ")
      printNote("\(path): \(film.indices.count) frames taken, blocks at \(moments) seconds")
      patches += film.patches
      grids.append(film.grid)
    }
    add("pixel_values_videos", patches, [grids.reduce(0) { $0 + $1.patchCount }, processor.patchLength], .f32)
    add("video_grid_thw", numbers(grids), [grids.count, 3], .i64)
  }

  mutating func add(_ processor: TilePictureProcessor, _ paths: [String], tiling: Bool) throws {
    let tiling = tiling && paths.count <= TilePictureProcessor.mostTiledPictures
    var values: [Float] = []
    var crops: [Int64] = []
    var views = 0
    for path in paths {
      let picture = try PictureDecoder.load(path: path, options: .reference)
      let tiled = try processor.process(picture, tiling: tiling, name: path)
      values += tiled.values
      views += tiled.viewCount
      crops += [Int64(tiled.tiles.across), Int64(tiled.tiles.down)]
    }
    add("images", values, [views, 3, processor.baseSide, processor.baseSide], .f32)
    add("images_spatial_crop", crops, [paths.count, 2], .i64)
  }

  private func numbers(_ grids: [PatchGrid]) -> [Int64] { grids.flatMap { [Int64($0.t), Int64($0.h), Int64($0.w)] } }
}
