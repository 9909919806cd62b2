import Foundation
import Rewards

if CommandLine.arguments.dropFirst().first == "__reward-worker" {
  exit(RewardWorker.main(Array(CommandLine.arguments.dropFirst(2))))
}
print("attune")
