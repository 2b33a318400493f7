#include "../../fake.h"
