// swift-tools-version: 6.2
import PackageDescription

// Kernels and tensor code are optimised in debug builds too: tests train real (small) models.
// `-ffp-contract=off`: a product and a sum are fused only where the source says so, or bits would depend on the target.
let kernelFlags: [CSetting] = [
  .unsafeFlags(["-O3", "-ffp-contract=off", "-fno-math-errno", "-Wall", "-Wextra", "-Wno-psabi"])
]
let hot: [SwiftSetting] = [.unsafeFlags(["-O"], .when(configuration: .debug))]

func system(_ name: String, _ pkgConfig: String?, apt: String, brew: String) -> Target {
  .systemLibrary(
    name: name, path: "Sources/System/\(name)", pkgConfig: pkgConfig,
    providers: [.apt([apt]), .brew([brew])])
}

func tests(_ room: String, _ dependencies: [Target.Dependency]) -> Target {
  .testTarget(
    name: "\(room)Tests", dependencies: dependencies + ["Core", "TestSupport"], path: "Tests/\(room)Tests")
}

// Rewards of rewards/ that are written in Swift: loaded at run time from beside the program, linked by nobody.
let swiftRewards = ["answer_format", "f1", "fuzzy_match", "group_length", "react", "reasoning_steps", "tool_use"]

let package = Package(
  name: "attune",
  platforms: [.macOS(.v15)],
  products: [
    .executable(name: "attune", targets: ["attune"]),
    .library(name: "RewardKit", type: .static, targets: ["RewardKit"]),
  ] + swiftRewards.map { .library(name: $0, type: .dynamic, targets: [$0]) },
  targets: [
    // Floor 0: C and system libraries.
    .target(name: "CKernels", cSettings: kernelFlags),
    .target(name: "CRewardABI"),
    // The C plugins of rewards/, each in a file that includes its source.
    .target(name: "CShippedRewards", dependencies: ["CRewardABI"]),
    system("CYAML", "yaml-0.1", apt: "libyaml-dev", brew: "libyaml"),
    system("CSQLite", "sqlite3", apt: "libsqlite3-dev", brew: "sqlite"),
    system("CPNG", "libpng", apt: "libpng-dev", brew: "libpng"),
    system("CJPEG", "libjpeg", apt: "libjpeg-dev", brew: "jpeg-turbo"),
    system("CWebP", "libwebpdemux", apt: "libwebp-dev", brew: "webp"),
    system("CPCRE2", "libpcre2-8", apt: "libpcre2-dev", brew: "pcre2"),
    // Opened at run time, so nothing is linked.
    system("CCURL", nil, apt: "libcurl4-openssl-dev", brew: "curl"),
    system("CCairo", "cairo", apt: "libcairo2-dev", brew: "cairo"),
    system("CFFI", "libffi", apt: "libffi-dev", brew: "libffi"),
    // The system's own calls: nothing to install.
    .systemLibrary(name: "CConfinement", path: "Sources/System/CConfinement"),
    // Floor 1: values, tensors, the plugin author's kit.
    .target(name: "Core", swiftSettings: hot, linkerSettings: [.linkedLibrary("m", .when(platforms: [.linux]))]),
    .target(
      name: "AttuneTensor", dependencies: ["Core", "CKernels"], path: "Sources/Tensor", swiftSettings: hot),
    .target(name: "RewardKit", dependencies: ["CRewardABI"]),
    // Floor 2: text, pictures, objectives, rewards.
    .target(name: "Text", dependencies: ["Core", "CPCRE2"], swiftSettings: hot),
    .target(
      name: "AttuneVision", dependencies: ["Core", "CPNG", "CJPEG", "CWebP"], path: "Sources/Vision",
      swiftSettings: hot),
    .target(name: "Objectives", dependencies: ["Core"], swiftSettings: hot),
    .target(
      name: "Rewards",
      dependencies: ["Core", "CRewardABI", "CShippedRewards", "CFFI", "CPCRE2", "CCURL", "CConfinement"]),
    // Floor 3: models and data.
    .target(name: "Models", dependencies: ["Core", "AttuneTensor", "Text", "AttuneVision"], swiftSettings: hot),
    .target(name: "Datasets", dependencies: ["Core", "Text", "AttuneVision"], swiftSettings: hot),
    // Floor 4 and up: sampling, the lab, benchmarks, the command line.
    .target(name: "Rollout", dependencies: ["Core", "AttuneTensor", "Text", "Models"], swiftSettings: hot),
    .target(
      name: "Lab",
      dependencies: [
        "Core", "AttuneTensor", "Text", "AttuneVision", "Objectives", "Rewards", "Models", "Datasets", "Rollout",
        "CYAML", "CSQLite", "CCairo",
      ]),
    .target(
      name: "Bench", dependencies: ["Core", "AttuneTensor", "Models", "Rollout", "Objectives", "Lab"],
      swiftSettings: hot),
    .executableTarget(
      name: "attune",
      dependencies: [
        "Core", "AttuneTensor", "Text", "AttuneVision", "Objectives", "Rewards", "Models", "Datasets", "Rollout",
        "Lab", "Bench",
      ]),
    // Tests mirror the rooms.
    .target(name: "TestSupport", dependencies: ["Core", "AttuneTensor", "Models"], path: "Tests/TestSupport"),
    tests("Core", []),
    tests("Tensor", ["AttuneTensor", "CKernels"]),
    tests("Text", ["Text"]),
    tests("Vision", ["AttuneVision", "AttuneTensor"]),
    tests("Objectives", ["Objectives"]),
    tests("Rewards", ["Rewards", "CRewardABI"]),
    tests("Models", ["Models", "AttuneTensor", "Text", "AttuneVision"]),
    tests("Datasets", ["Datasets", "AttuneVision"]),
    tests("Rollout", ["Rollout", "Models", "AttuneTensor", "Text"]),
    tests("Lab", ["Lab", "Models", "AttuneTensor", "Rollout", "Objectives", "Rewards"]),
    tests("Command", ["Lab", "attune"]),
    tests("Architecture", []),
  ]
    + swiftRewards.map {
      .target(name: $0, dependencies: ["RewardKit"], path: "rewards/\($0)", exclude: ["README.md", "cases.jsonl"])
    },
  swiftLanguageModes: [.v6],
  cLanguageStandard: .c17
)
