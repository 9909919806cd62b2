import AttuneVision
import Core
import Foundation
import Models
import Text

/// From text with placeholders, and pictures and films, to ids with a place for each piece of them.
///
/// Every family has its own way: Qwen3-VL repeats its placeholder, and cuts a film into moments with their times in words;
/// DeepSeek-VL2 takes the texts between pictures one by one.
struct PromptEncoder {
  let configuration: ModelConfiguration
  let tokenizer: Tokenizer
  /// What makes the pictures' inputs; throws what is wrong with the folder's files for it.
  let processor: () throws -> PictureProcessor

  /// Pictures and films as the model takes them.
  struct Inputs {
    var pictures: [PictureInput] = []
    /// The films' moments, film after film.
    var films: [PictureInput] = []
    /// Seconds from each film's begin to its moments.
    var times: [[Double]] = []
  }

  /// - Throws: `.request` if the model sees none, or one of them cannot be processed.
  func inputs(of media: PromptMedia) throws -> Inputs {
    var inputs = Inputs()
    guard !media.pictures.isEmpty || !media.films.isEmpty else { return inputs }
    guard configuration.vision != nil else {
      throw AttuneError.request(
        "\(media.pictures.count + media.films.count) pictures for a \(configuration.family.name) model, which reads text alone"
      )
    }
    switch try processor() {
    case .qwen(let processor, let filmProcessor):
      inputs.pictures = try media.pictures.enumerated().map { i, picture in
        Self.input(try processor.process(picture, name: media.name(i)))
      }
      for film in media.films {
        guard let filmProcessor else {
          throw AttuneError.request(
            "the checkpoint has no processor for films", at: .init(file: film.name),
            hint: "its folder needs a video_preprocessor_config.json; pictures can be given one by one")
        }
        let processed = try filmProcessor.process(film)
        inputs.films += (0..<processed.grid.t).map { Self.input(processed.block($0)) }
        inputs.times.append(processed.timestamps)
      }
    case .tiles(let processor):
      if let film = media.films.first {
        throw AttuneError.request(
          "a \(configuration.family.name) model takes no films", at: .init(file: film.name),
          hint: "give some of its frames as pictures")
      }
      let tiling = media.pictures.count <= TilePictureProcessor.mostTiledPictures
      inputs.pictures = try media.pictures.enumerated().map { i, picture in
        let tiled = try processor.process(picture, tiling: tiling, name: media.name(i))
        return PictureInput(values: tiled.values, kind: .tiles(across: tiled.tiles.across, down: tiled.tiles.down))
      }
    }
    return inputs
  }

  private static func input(_ picture: ProcessedPicture) -> PictureInput {
    PictureInput(
      patches: picture.patches, grid: (frames: picture.grid.t, height: picture.grid.h, width: picture.grid.w))
  }

  /// The ids of a text, every placeholder as often as its picture has places.
  ///
  /// - Parameter isRaw: a person's text and no template's: it gets the special tokens that the tokenizer's post-processor
  ///   puts around a text, unless it begins with them itself.
  /// - Throws: `.request` if there are more or fewer placeholders than pictures or films.
  func ids(of text: String, _ inputs: Inputs, isRaw: Bool) throws -> [Int32] {
    switch configuration.vision {
    case nil: return encode(text, isRaw: isRaw)
    case .qwen3VL:
      let expanded = try withTimes(text, inputs.times)
      return try repeatPlaces(encode(expanded, isRaw: isRaw), inputs)
    case .deepSeekVL2:
      guard let id = configuration.imageTokenID, let placeholder = tokenizer.token(of: id) else {
        return encode(text, isRaw: isRaw)
      }
      var ids: [Int32] = []
      for (i, piece) in text.components(separatedBy: placeholder).enumerated() {
        if i > 0 { ids.append(id) }
        ids += encode(piece, isRaw: isRaw && i == 0)
      }
      // The published processor begins every text so, whatever the tokenizer's post-processor does.
      if isRaw, let begin = configuration.json["language_config"]?["bos_token_id"]?.int,
        ids.first != Int32(clamping: begin)
      {
        ids.insert(Int32(clamping: begin), at: 0)
      }
      return try repeatPlaces(ids, inputs)
    }
  }

  private func encode(_ text: String, isRaw: Bool) -> [Int32] {
    isRaw ? tokenizer.encodeOnce(text) : tokenizer.encode(text)
  }

  /// Films become their moments: the time in words, then one placeholder between the marks of a picture. What stands around
  /// a film's own placeholder stays, as transformers 5 leaves it (4.57 took the marks away).
  private func withTimes(_ text: String, _ films: [[Double]]) throws -> String {
    guard let placeholder = configuration.videoTokenID.flatMap({ tokenizer.token(of: $0) }) else {
      if films.isEmpty { return text }
      throw AttuneError.request("config.json has no video_token_id, so there is no place for a film")
    }
    let pieces = text.components(separatedBy: placeholder)
    guard pieces.count - 1 == films.count else {
      throw AttuneError.request(
        "\(films.count) films, but \(pieces.count - 1) placeholders in the text",
        hint: "each film needs one \(placeholder) or a video part in a message")
    }
    let start = configuration.visionStartID.flatMap { tokenizer.token(of: $0) } ?? ""
    let end = configuration.visionEndID.flatMap { tokenizer.token(of: $0) } ?? ""
    var result = pieces[0]
    for (times, piece) in zip(films, pieces.dropFirst()) {
      for time in times { result += String(format: "<%.1f seconds>", time) + start + placeholder + end }
      result += piece
    }
    return result
  }

  private func repeatPlaces(_ ids: [Int32], _ inputs: Inputs) throws -> [Int32] {
    guard let vision = configuration.vision, let imageID = configuration.imageTokenID else { return ids }
    let found = ids.count { $0 == imageID }
    guard found == inputs.pictures.count else {
      throw AttuneError.request(
        "\(inputs.pictures.count) pictures, but \(found) placeholders in the text",
        hint: "each picture needs one \(tokenizer.token(of: imageID) ?? "image token") or an image part in a message")
    }
    var (pictures, films) = (inputs.pictures[...], inputs.films[...])
    var result: [Int32] = []
    for id in ids {
      let input = id == imageID ? pictures.popFirst() : id == configuration.videoTokenID ? films.popFirst() : nil
      let count = try input.map { try vision.layOut($0, from: 0).positions.count } ?? 1
      result += repeatElement(id, count: count)
    }
    return result
  }
}
