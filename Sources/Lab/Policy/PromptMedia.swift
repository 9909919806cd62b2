import AttuneVision
import Core

/// What a prompt shows besides its text, in the order in which the text has places for it.
public struct PromptMedia: Sendable {
  public var pictures: [Picture]
  /// What errors call the pictures.
  public var pictureNames: [String]
  public var films: [VideoSource]

  public init(pictures: [Picture] = [], pictureNames: [String] = [], films: [VideoSource] = []) {
    self.pictures = pictures
    self.pictureNames = pictureNames
    self.films = films
  }

  func name(_ index: Int) -> String {
    pictureNames.indices.contains(index) ? pictureNames[index] : "picture \(index + 1)"
  }
}
