#include "../fake.h"
