// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "ort/session.hpp"

namespace pyperf::ort {

struct AssignedNode {
  std::string provider;
  std::string op_type;
  std::string name;
};

// The session option that makes a session remember which provider took which node.
constexpr const char* kRecordAssignment = "session.record_ep_graph_assignment_info";

// Which provider each node of the model was given to when the graph was divided, before nodes were fused. Empty where
// the session was made without kRecordAssignment. Throws BackendError where the library is older than 1.24.
std::vector<AssignedNode> assigned_nodes(const Session& session);

}  // namespace pyperf::ort
