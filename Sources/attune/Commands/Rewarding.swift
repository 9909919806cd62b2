import Core
import Foundation
import Rewards

/// The hidden verb that makes this program the process of a reward plugin.
let rewardWorkerVerb = "__reward-worker"

/// Starts this very program as a worker.
let rewardWorkerCommand: [String] = [Bundle.main.executablePath ?? CommandLine.arguments[0], rewardWorkerVerb]

func runRewardWorker(_ arguments: [String]) -> Int32 { RewardWorker.main(arguments) }

let rewardCommands: [Command] = []
